"""A study does each of its runs once, goes on after a kill, and tells what its rows say."""

import json
from dataclasses import replace

import pytest
import torch

import precision_tables
import qpsnn_tables
import qsnn_tables
from _study.runs import Study, StudyRun, _lock, read
from _study.table import as_markdown, before_pruning, summary
from _study.train import execute, train_first_stage
from bitspike.block import native
from bitspike.data import load
from bitspike.train.model_file import MODEL_FILE, load_model
from bitspike.train.precision import chosen_precision
from bitspike.train.stages import FIRST_STAGE

RUN = StudyRun("main", "digits", "1w2u", 0, "qsnn-digits-1w2u", ("train.epochs=1",), images=300)


@pytest.fixture
def study(tmp_path):
    return Study("small", [RUN, replace(RUN, seed=1)], tmp_path / "small.json", tmp_path / "runs")


def accuracy(run, folder):
    return {"accuracy": 0.5 + run.seed, "form": "integer", "firing_rates": {"a": 0.25}}


def test_each_run_is_done_once(study):
    done = []
    assert study.work(lambda run, folder: done.append(run.name) or accuracy(run, folder), "seed1", print) == 1
    assert done == ["digits-1w2u-seed1"]
    assert [run.name for run in study.missing()] == ["digits-1w2u-seed0"]
    study.work(lambda run, folder: done.append(run.name) or accuracy(run, folder), "", print)
    assert done == ["digits-1w2u-seed1", "digits-1w2u-seed0"]
    assert [row["accuracy"] for row in study.rows()] == [0.5, 1.5]  # in the order of the runs
    assert study.work(lambda *_: pytest.fail("all is done"), "", print) == 0


def test_a_run_that_somebody_works_on_is_left_alone(study):
    (study.folder / RUN.name).mkdir(parents=True)
    with _lock(study.folder / RUN.name / ".lock") as mine:
        assert mine
        assert study.work(accuracy, "", print) == 1
    assert [run.seed for run in study.missing()] == [0]


def test_a_run_that_fails_leaves_no_row_and_is_done_again(study):
    def fail(run, folder):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        study.work(fail, "", print)
    assert study.rows() == []
    assert study.work(accuracy, "", print) == 2


def test_rows_of_other_settings_do_not_count(study):
    study.work(accuracy, "", print)
    changed = Study("small", [replace(RUN, changes=("train.epochs=2",))], study.results, study.folder)
    assert [run.name for run in changed.missing()] == [RUN.name]
    changed.work(accuracy, "", print)
    assert [row["settings"]["changes"] for row in changed.rows() if row["run"] == RUN.name] == [["train.epochs=2"]]


def test_two_runs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two runs have one name"):
        Study("small", [RUN, RUN])


def test_a_real_run_tells_what_it_measured(study, tmp_path):
    study.work(execute, "seed0", print)
    (row,) = study.rows()
    assert row["training_images"] == 300
    assert row["samples"] == len(load("digits", "test"))
    assert 0.2 < row["accuracy"] <= 1
    assert row["form"] == "integer"
    assert len(row["firing_rates"]) == 2
    assert row["settings"]["recipe"] == "qsnn-digits-1w2u"
    assert json.loads(study.results.read_text())["study"] == "small"


def test_the_first_stage_of_a_run_is_trained_again_to_the_same_weights(tmp_path):
    changes = ("train.epochs=1", "prune.ratios={'*' = 0.5}", "prune.batches=2", "finetune.epochs=1")
    pruned = replace(RUN, changes=changes)
    row = execute(pruned, tmp_path / "run")
    train_first_stage(pruned, tmp_path / "again")
    trained, _ = load_model(tmp_path / "run" / FIRST_STAGE / MODEL_FILE)
    again, header = load_model(tmp_path / "again" / MODEL_FILE)
    assert row["before_pruning"]["test_accuracy"] == header.results["test_accuracy"]
    weights = again.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trained.state_dict().items())


def row(name, seed, value, form="integer"):
    settings = {"table": "main", "data": "mnist", "row": name, "seed": seed}
    return {"settings": settings, "accuracy": value, "form": form, "firing_rates": {"a": value / 10}}


def test_tables_tell_mean_deviation_and_distance():
    rows = [row("1w2u", 0, 0.98), row("1w2u", 1, 0.96), row("32w32u", 0, 0.99, "float")]
    lines = summary(rows, "main", "mnist")
    assert [(line["row"], line["seeds"]) for line in lines] == [("1w2u", 2), ("32w32u", 1)]
    assert lines[0]["mean"] == pytest.approx(0.97)
    assert lines[0]["deviation"] == pytest.approx(0.02 / 2**0.5)
    assert as_markdown(lines, "32w32u").splitlines()[2:] == [
        "| 1w2u | 97.00 ± 1.41 % | 2 | -2.00 | 9.7 % |",
        "| 32w32u | 99.00 % (float) | 1 |  | 9.9 % |",
    ]


def test_the_study_of_qsnn_names_what_exists():
    study = Study("qsnn_tables", qsnn_tables.runs())
    names = [run.name for run in study.runs]
    assert names[:2] == ["fashion-mnist-1w2u-seed0", "mnist-1w2u-seed0"]  # headline rows first
    assert len(names) == 47
    for run in study.runs:
        recipe = read(run)
        assert recipe.data.name == run.data
        assert recipe.train.seed == run.seed
        if run.table == "main":
            assert recipe.quant.short() == run.row
    floats = {run.data: read(run) for run in study.runs if run.row == "32w32u"}
    for run in study.runs:  # the float network is trained with the same budget
        if run.table == "main":
            assert read(run).train.epochs == floats[run.data].train.epochs
            assert read(run).augment == floats[run.data].augment


def test_a_pruned_run_tells_what_it_was_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = 'quant={bits = "2w4u", weight = {grid = "odd", scale = "mean"}}'
    pruned = ("prune.ratios=0.5", "prune.batches=1", "prune.batch=20", "finetune.epochs=1")
    first = replace(RUN, row="svs", changes=("train.epochs=1", weights, *pruned))
    start = f"start=runs/{first.name}/trained"
    second = replace(RUN, row="sca", changes=(*first.changes, "prune.criterion=sca", start))
    study = Study("pruned", [first, second], tmp_path / "pruned.json", tmp_path / "runs")
    assert study.work(execute, "", print) == 2
    rows = study.rows()
    assert [row["before_pruning"] for row in rows] == [rows[0]["before_pruning"]] * 2
    assert rows[0]["channels"] == {"conv1": [16, 8], "conv2": [32, 16]}
    assert rows[1]["parameters_after"] == rows[0]["parameters_after"] < rows[0]["parameters_before"]
    (before,) = before_pruning(rows)
    assert before["accuracy"] == rows[0]["before_pruning"]["test_accuracy"]
    assert before["settings"] == rows[0]["settings"]


def test_the_study_of_qpsnn_names_what_exists():
    runs = {run.name: run for run in qpsnn_tables.runs()}
    assert len(runs) == len(qpsnn_tables.runs())
    recipes = {name: read(run) for name, run in runs.items()}
    for name, recipe in recipes.items():
        assert recipe.data.name == runs[name].data
        if recipe.start.startswith("runs/qsnn_tables/"):  # of the other study, the same network
            (other,) = [run for run in qsnn_tables.runs() if recipe.start == f"runs/qsnn_tables/{run.name}"]
            assert read(other).model == recipe.model
        elif recipe.start:  # of a run that comes earlier, the same up to pruning
            other = recipe.start.removeprefix("runs/qpsnn_tables/").removesuffix("/trained")
            assert list(runs).index(other) < list(runs).index(name)
            assert recipes[other].train == recipe.train
            assert recipes[other].quant == recipe.quant
            assert recipes[other].prune.target == recipe.prune.target
    seeds = [recipes[f"pruning-fashion-mnist-ReScaW-svs-seed{seed}"] for seed in (0, 1, 2)]
    assert [recipe.train.seed for recipe in seeds] == [0, 1, 2]
    assert [recipe.finetune.seed for recipe in seeds] == [0, 1, 2]
    assert seeds[0].quant.weight.scale == "mean"
    assert recipes["pruning-fashion-mnist-vanilla-sca-seed2"].quant.weight.scale == "unit"


@pytest.mark.parametrize("module", [qpsnn_tables, qsnn_tables], ids=["qpsnn", "qsnn"])
def test_committed_rows_are_those_of_the_runs_as_they_stand(module):
    """A row that its run no longer knows would be trained again: what is added to recipes must not say otherwise."""
    runs = {run.name: run for run in module.runs()}
    rows = Study(module.__name__, module.runs()).rows()
    assert len(rows) >= 10
    assert [row["run"] for row in rows if runs[row["run"]].settings() != row["settings"]] == []


def test_precisions_are_compared_in_the_numbers_of_their_names(monkeypatch, tmp_path):
    """Also bfloat16 where the processor lacks it: emulated there, for this study alone."""
    cpu, seen = torch.device("cpu"), {}

    def note(run, folder):
        seen[run.row] = (native.available(), chosen_precision(read(run).train.precision, cpu))
        return {}

    monkeypatch.setattr(precision_tables, "execute", note)
    able = chosen_precision("auto", cpu) == "bfloat16"
    for run in precision_tables.runs()[:3]:
        row = precision_tables.work(run, tmp_path)
        assert row == ({"emulated": not able} if run.row == precision_tables.HALF else {})
    assert seen == {
        "plain float32": (False, "float32"),
        "kernels float32": (True, "float32"),
        "kernels bfloat16": (True, "bfloat16"),
    }
    assert native.available()
    if not able:
        with pytest.raises(ValueError, match="bfloat16"):
            chosen_precision("bfloat16", cpu)
