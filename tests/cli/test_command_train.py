"""`bitspike train` and `bitspike evaluate` on digits and on recordings, end to end."""

import pytest

from bitspike.train import list_recipes, load_model, read_header


def test_training_tells_what_was_reached_and_where_it_lies(cli, recipes, trained):
    folder = trained["small"].parent
    done = cli("train", recipes["small"], "--out", folder, "--device", "cpu", "--json")
    found = done.json
    stored = read_header(trained["small"]).results
    assert done.code == 0
    assert "trained already" in done.err
    assert found["resumed"] is True
    assert found["form"] == "integer"
    assert found["test_accuracy"] == stored["test_accuracy"]
    assert found["test_samples"] == 355
    assert list(found["firing_rates"]) == ["conv1", "conv2"]
    assert found["memory"]["total"] < found["float_memory"]["total"] / 4
    assert found["model_file"] == str(trained["small"])
    assert len(found["history"]) == 2


def test_a_table_and_the_next_command(cli, recipes):
    done = cli("train", recipes["small"], "--epochs", "1", "--seed", "7")
    assert done.code == 0
    assert "test accuracy as integers" in done.out
    assert "evaluate runs/small-seed7/model.safetensors --data digits" in done.out
    assert "starts in runs/small-seed7" in done.err
    assert "epoch 1/1" in done.err
    quiet = cli("train", recipes["small"], "--epochs", "1", "--seed", "7", "--quiet")
    assert quiet.err == ""
    assert "next:" not in quiet.out
    other = cli("train", recipes["small"], "--epochs", "2", "--seed", "7", "--json")
    assert other.code == 2
    assert "--fresh" in other.json["error"]
    fresh = cli("train", recipes["small"], "--epochs", "2", "--seed", "7", "--fresh", "--json")
    assert fresh.code == 0
    assert fresh.json["resumed"] is False


def test_the_seed_decides(cli, recipes, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert cli("train", recipes["small"], "--epochs", "1", "--seed", seed, "--out", name, "-q").code == 0
    a, b, c = (load_model(tmp_path / name / "model.safetensors")[0].state_dict() for name in "abc")
    assert all(bool((a[key] == b[key]).all()) for key in a)
    assert not all(bool((a[key] == c[key]).all()) for key in a)


def test_the_list_of_recipes(cli):
    found = {item["name"]: item for item in cli("train", "--list", "--json").json["recipes"]}
    assert set(found) == set(list_recipes())
    assert found["qsnn-cifar10-resnet19-1w2u"]["published_accuracy"] == pytest.approx(0.952)
    shown = cli("train", "--list").out
    assert all(name in shown for name in found)


def test_evaluating_reproduces_the_stored_accuracy_in_every_form_and_order(cli, trained):
    stored = read_header(trained["small"]).results
    lines = [(), ("--order", "steps"), ("--order", "layers", "--batch", "17"), ("--form", "real"), ("--data", "digits")]
    found = [cli("evaluate", trained["small"], "--device", "cpu", *line, "--json") for line in lines]
    assert [done.code for done in found] == [0] * len(lines)
    for done in found:
        assert done.json["accuracy"] == stored["test_accuracy"]
        assert done.json["firing_rates"] == stored["firing_rates"]
        assert done.json["samples"] == 355
        assert done.json["reproduced"] is True
        assert done.json["seconds"] > 0
    assert [done.json["form"] for done in found] == ["integer", "integer", "integer", "real", "integer"]


def test_a_run_folder_is_as_good_as_its_model_file(cli, trained):
    shown = cli("evaluate", trained["small"].parent).out
    assert "of digits test as integers" in shown
    assert "the same as the file says" in shown


def test_a_network_that_does_not_reproduce_its_number_fails_the_check(cli, trained, tmp_path):
    from dataclasses import replace

    from bitspike.train import save_model

    net, header = load_model(trained["small"])
    results = header.results | {"test_accuracy": header.results["test_accuracy"] - 0.25}
    save_model(net, tmp_path / "boast.safetensors", replace(header, results=results))
    done = cli("evaluate", "boast.safetensors", "--json")
    assert done.code == 1
    assert done.json["reproduced"] is False
    assert "NOT the same" in cli("evaluate", "boast.safetensors").out


def test_part_of_the_split_and_the_confusion(cli, trained):
    done = cli("evaluate", trained["small"], "--limit", "50", "--confusion", "--json")
    assert done.json["samples"] == 50
    assert done.json["reproduced"] is None
    assert sum(map(sum, done.json["confusion"])) == 50
    assert sum(row[i] for i, row in enumerate(done.json["confusion"])) == done.json["correct"]
    assert "confusion" not in cli("evaluate", trained["small"], "--limit", "50", "--json").json
    assert "true class" in cli("evaluate", trained["small"], "--limit", "50", "--confusion").out


def test_a_float_network_has_one_form(cli, trained):
    done = cli("evaluate", trained["float"], "--json")
    assert done.json["form"] == "float"
    assert done.json["order"] is None
    for line in (("--form", "integer"), ("--form", "real"), ("--order", "steps")):
        assert cli("evaluate", trained["float"], *line).code == 2
    assert "its forms are integer and real" in cli("evaluate", trained["small"], "--form", "float").err


def test_recordings_are_binned_as_the_model_file_says(cli, trained, event_root):
    line = ("evaluate", trained["events"], "--data-root", event_root, "--device", "cpu", "--json")
    whole, steps = cli(*line), cli(*line, "--order", "steps", "--batch", "3")
    assert whole.code == steps.code == 0
    assert whole.json["samples"] == 10
    for key in ("accuracy", "firing_rates", "correct"):
        assert whole.json[key] == steps.json[key]
    assert whole.json["reproduced"] is True


def test_data_that_does_not_fit_is_refused_before_anything_runs(cli, trained, event_root):
    done = cli("evaluate", trained["small"], "--data", "nmnist", "--data-root", event_root)
    assert done.code == 2
    assert "nmnist holds events, the network takes images" in done.err


def test_missing_data_says_where_it_was_looked_for(cli, tmp_path):
    done = cli("train", "qsnn-mnist-1w2u", "--data-root", tmp_path, "--device", "cpu")
    assert done.code == 2
    assert str(tmp_path / "mnist") in done.err
    assert "bitspike data fetch mnist" in done.err


def test_an_unfinished_run_and_an_empty_folder_are_no_models(cli, tmp_path):
    (tmp_path / "run").mkdir()
    assert "without a model.safetensors" in cli("evaluate", "run").err
    (tmp_path / "run" / "state.safetensors").write_bytes(b"")
    assert "not finished" in cli("evaluate", "run").err


def test_a_gpu_that_is_not_there_is_refused(cli, recipes):
    import torch

    done = cli("train", recipes["small"], "--device", f"cuda:{torch.cuda.device_count()}", "--out", "x")
    assert done.code == 2
    assert "torch sees" in done.err
