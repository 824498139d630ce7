"""Exploring the unsupervised network: the same table, front and winner as of networks of blocks."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from stdp_samples import small

from bitspike.data import load
from bitspike.explore import Space, StdpSpace, explore
from bitspike.explore.evaluate import seed_of
from bitspike.explore.finish import certified, make_winner
from bitspike.explore.stdp_setting import StdpSetting, recipe_of
from bitspike.locking import own_folder
from bitspike.stdp import StdpBits, StdpNetwork, StdpRecipe, evaluate, native, quantized, train_stdp
from bitspike.stdp.cost import describe
from bitspike.train import read_recipe

SPACE = {
    "scheme": ["ptq", "itq-scratch"],
    "bits.weight": [3, 6],
    "bits.rounding": ["stochastic", "truncation"],
    "base": {"membrane": 14},
}
MEASURED = ("seconds", "latency")


@pytest.fixture(scope="module")
def trained(spots):
    """The float network, and the samples that it has not seen."""
    recipe = StdpRecipe("try", small(), "spots", validation=150, passes=1, label_images=300)
    return train_stdp(recipe, spots[0]).network


@pytest.fixture(scope="module")
def subject(trained, spots):
    data = spots[0]
    first, last = data.subset(slice(0, 550)), data.subset(slice(550, 700))
    return StdpSetting(trained, StdpSpace.of(SPACE), first, last, recipe=recipe_of(trained))


def _rows(found):
    return [{name: value for name, value in row.to_dict().items() if name not in MEASURED} for row in found.rows]


def _explored(trained, spots, **options):
    given = {"space": SPACE, "validation": 0.2, "seed": 3} | options
    return explore(trained, spots[0], **given)


def test_a_row_is_what_its_choices_say(subject):
    choices = {"scheme": "ptq", "bits.weight": 3, "bits.rounding": "stochastic"}
    made = subject.make(5, choices)
    seed = seed_of(0, 5, "network")
    bits = StdpBits(weight=3, membrane=14, rounding="stochastic")
    start = StdpNetwork(replace(subject.net.config, seed=seed), subject.net.state)
    wanted = quantized(start, bits)
    shown = subject.training.subset(slice(0, 300))
    wanted.assign_labels(shown.inputs.reshape(300, -1), shown.labels, 3)
    np.testing.assert_array_equal(made.network.state.weights, wanted.state.weights)
    found = subject.numbers(made, subject.validation)
    assert found["accuracy"] == evaluate(wanted, subject.validation).accuracy
    assert found["correct"] == round(150 * found["accuracy"])
    assert found["memory"] == describe(wanted).memory.total
    assert made.settings == {"bits": asdict(bits), "seed": seed}


def test_learning_in_integers_is_a_run_of_its_own(subject):
    choices = {"scheme": "itq-scratch", "bits.weight": 6, "bits.rounding": "truncation"}
    bits = StdpBits(weight=6, membrane=14, rounding="truncation")
    config = replace(subject.net.config, bits=bits, seed=seed_of(0, 2, "network"))
    alone = train_stdp(replace(subject.recipe, network=config, validation=0), subject.training).network
    made = subject.make(2, choices).network
    np.testing.assert_array_equal(made.state.weights, alone.state.weights)
    np.testing.assert_array_equal(made.labels.label, alone.labels.label)


def test_candidates_of_other_samples_in_the_same_folder_learn_anew(subject, tmp_path):
    choices = {"scheme": "itq-scratch", "bits.weight": 6, "bits.rounding": "truncation"}
    fewer = replace(subject, training=subject.training.subset(slice(0, 300)))
    for shared in (subject, fewer):
        alone = shared.make(0, choices).network
        kept = replace(shared, folder=tmp_path).make(0, choices).network
        np.testing.assert_array_equal(kept.state.weights, alone.state.weights)


def test_a_candidate_that_another_process_still_learns_is_learned_beside(subject, tmp_path):
    choices = {"scheme": "itq-scratch", "bits.weight": 6, "bits.rounding": "truncation"}
    shared = replace(subject, folder=tmp_path)
    made = shared.make(0, choices).network
    (place,) = (tmp_path / "candidates").iterdir()
    for file in place.iterdir():
        file.unlink()
    with own_folder(place):
        np.testing.assert_array_equal(shared.make(0, choices).network.state.weights, made.state.weights)
        assert not any(place.iterdir())


def test_the_same_table_with_any_number_of_workers_and_after_a_stop(trained, spots, tmp_path):
    one = _explored(trained, spots)
    assert len(one.finished) == 8
    assert _rows(_explored(trained, spots, workers=2)) == _rows(one)

    class Enough(Exception):
        pass

    def stop(found):
        if len(found.finished) == 3:
            raise Enough

    with pytest.raises(Enough):
        _explored(trained, spots, out=tmp_path, watch=stop)
    assert _rows(_explored(trained, spots, out=tmp_path)) == _rows(one)
    assert {row.numbers["memory"] for row in one.front} <= {row.numbers["memory"] for row in one.rows}
    narrow, wide = (
        next(row for row in one.rows if row.choices["bits.weight"] == bits and row.choices["scheme"] == "ptq")
        for bits in (3, 6)
    )
    assert narrow.memory < wide.memory < one.baseline.memory


def test_the_baseline_is_the_float_network_with_classes_of_the_training_samples_alone(subject):
    network = StdpNetwork(subject.net.config, subject.net.state)
    shown = subject.training.subset(slice(0, 300))
    network.assign_labels(shown.inputs.reshape(300, -1), shown.labels, 3)
    found = subject.baseline()
    assert found == {
        "accuracy": evaluate(network, subject.validation).accuracy,
        "memory": describe(network).memory.total,
    }


def test_a_sampler_and_all_objectives(trained, spots):
    objectives = ("accuracy", "memory", "operations", "energy", "latency")
    found = _explored(
        trained, spots, sampler="nsga2", trials=6, generation=3, objectives=objectives, space={"bits.weight": [2, 4, 8]}
    )
    assert len(found.finished) == 3  # the sampler runs out of candidates
    for row in found.finished:
        assert all(row.numbers[name] > 0 for name in objectives)
    assert {row.numbers["operations"] for row in found.finished} != {0.0}


def test_the_winner_is_made_again_tested_and_certified(subject, trained, spots):
    found = _explored(trained, spots, seed=0)
    row = found.smallest(0.5, margin=0.0)
    shared = replace(subject, **_splits(spots))
    winner = make_winner(shared, row, spots[1], seeds=2)
    assert winner.reproduced
    assert winner.test[0] == evaluate(winner.made.network, spots[1]).accuracy
    told = certified(shared, winner, spots[1], samples=7).made.network.about["certificate"]
    assert (told["samples"], told["data"], told["split"]) == (7, "spots", "test")


def test_slack_is_of_the_learning_rule_alone(subject, spots):
    found = []
    for slack in (1.0, 2.0):
        choices = {"scheme": "ptq", "bits.weight": 3, "bits.rounding": "nearest", "bits.slack": slack}
        space = StdpSpace.of(SPACE | {"bits.slack": [1.0, 2.0]})
        shared = replace(subject, space=space)
        learned = shared.meaning(choices | {"scheme": "itq-scratch"})
        found.append((shared.meaning(choices), learned, shared.make(4, choices).network))
    (one, first, network), (same, other, again) = found
    assert (one == same, first == other) == (True, False)
    np.testing.assert_array_equal(network.state.weights, again.state.weights)
    pixels = spots[1].inputs.reshape(200, -1)
    np.testing.assert_array_equal(network.respond(pixels), again.respond(pixels))


def test_without_an_engine_there_is_no_certificate(subject, spots, monkeypatch):
    made = subject.make(0, {"scheme": "ptq", "bits.weight": 3, "bits.rounding": "stochastic"})
    monkeypatch.setenv("BITSPIKE_ENGINE", "reference")
    assert subject.certified(made, spots[1], 3).certificate is None


def test_a_certificate_needs_equal_spikes(subject, spots, monkeypatch):
    made = subject.make(0, {"scheme": "ptq", "bits.weight": 3, "bits.rounding": "stochastic"})
    present = native.present

    def wrong(*arguments, **options):
        found = present(*arguments, **options)
        found[0, 0] = 1 - found[0, 0]
        return found

    if made.network.engine == "reference":
        pytest.skip("the engine is not built")
    monkeypatch.setattr(native, "present", wrong)
    with pytest.raises(RuntimeError, match="differ on the first 3 images"):
        subject.certified(made, spots[1], 3)


def _splits(spots):
    from bitspike.data import split_validation

    training, validation = split_validation(spots[0], 0.2, 0)
    return {"training": training, "validation": validation}


def test_another_network_in_the_same_folder_is_refused(trained, spots, tmp_path):
    few = {"bits.weight": [4]}
    _explored(trained, spots, space=few, out=tmp_path)
    other = copy.deepcopy(trained)
    other.state.weights[0, 0] += 0.25
    with pytest.raises(ValueError, match="network"):
        _explored(other, spots, space=few, out=tmp_path)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"weight.bits": [4]},
            "'weight.bits' is no dimension of an unsupervised network's space; allowed: scheme",
        ),
        ({"bits.weights": [4]}, "'bits.weights' is no dimension"),
        ({"bits.weight": [4, 17]}, "bits.weight is 17; give 1 to 16"),
        ({"bits.weight": [4.5]}, "bits.weight is 4.5"),
        ({"bits.slack": ["high"]}, "bits.slack is 'high'; give a number"),
        ({"scheme": ["itq"]}, "scheme may be 'itq'; allowed: ptq, itq-scratch"),
        ({"bits.weight": [4], "base": "4w4u"}, "give a dimension of one value"),
        ({"bits.weight": [4], "base": {"membrane": 99}}, "bits.membrane is 99"),
        (Space({"weight.bits": [4]}), "no dimension of an unsupervised"),
    ],
)
def test_spaces_that_cannot_be(trained, spots, space, words):
    with pytest.raises((ValueError, TypeError), match=words.replace("(", r"\(")):
        _explored(trained, spots, space=space)


def test_what_cannot_be_explored(trained, spots):
    integers = quantized(trained, StdpBits(4))
    with pytest.raises(ValueError, match="weights of 4 bits already; an exploration starts from a float one"):
        _explored(integers, spots)
    for given in ({"early_stop": True}, {"calibration": (2, 16)}, {"statistics": False}):
        with pytest.raises(ValueError, match=f"leave out {next(iter(given))}"):
            _explored(trained, spots, **given)
    with pytest.raises(TypeError, match="StdpRecipe"):
        _explored(trained, spots, train=read_recipe("digits-float"))
    with pytest.raises(ValueError, match="digits has 64 pixels"):
        explore(trained, load("digits", "train"))
    with pytest.raises(TypeError, match="recipe of an unsupervised network"):
        explore(torch.nn.Identity(), spots[0], train=StdpRecipe())


def test_whole_numbers_stand_for_real_ones():
    space = StdpSpace.of({"bits": {"ceiling": [1, 0.5]}})
    assert [space.widths(choices).bits.ceiling for choices in space] == [1.0, 0.5]
    assert StdpSpace.of(space.to_dict()) == space
