"""Candidates: what is made of choices, and that it is the same every time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from settings import float_net, setting, stripes

from bitspike import lower
from bitspike.block.spec_of import layer_states
from bitspike.drawing import drawn_batches
from bitspike.explore.evaluate import Hopeless, Rival, evaluate_candidate, make_candidate
from bitspike.explore.setting import seeded
from bitspike.integer.graph import Graph
from bitspike.locking import own_folder
from bitspike.prune import prune_
from bitspike.ptq import SpecChange, calibrate_

PTQ = {"base": "8w4u", "weight.bits": [1, 2, 4], "membrane.range": ["threshold", "mse"]}


def parts(graph: Graph) -> list:
    """A graph as plain values; arrays as bytes."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return (value.dtype.str, value.shape, value.tobytes())
        if hasattr(value, "__dataclass_fields__"):
            return [(name, plain(getattr(value, name))) for name in value.__dataclass_fields__]
        return tuple(plain(item) for item in value) if isinstance(value, list | tuple) else value

    return [plain(node) for node in graph.nodes]


def by_hand(space, choices, net=None):
    net = float_net() if net is None else net
    calibrate_(net, space.space.candidate(choices).change, list(drawn_batches(stripes(96), 2, 24, 0)))
    return lower(net.eval())


@pytest.mark.parametrize("bits", [1, 4])
@pytest.mark.parametrize("how", ["threshold", "mse"])
def test_ptq_is_calibration_and_lowering(bits, how):
    shared = setting(PTQ)
    choices = {"weight.bits": bits, "membrane.range": how}
    made = make_candidate(shared, 3, choices)
    assert parts(made.integers.graph) == parts(by_hand(shared, choices).graph)
    assert ("ranges" in made.details) == (how == "mse")
    assert all(state.is_float for state in layer_states(shared.net).values())  # the float network stays one


def test_a_row_holds_choices_numbers_and_seed():
    shared = setting(PTQ)
    choices = {"weight.bits": 2, "membrane.range": "threshold"}
    row = evaluate_candidate(shared, 5, choices)
    assert row["choices"] == choices
    assert row["seed"] == shared.seed_of(5, "quantization")
    assert row["quant"]["weight"]["bits"] == 2
    assert 0.4 < row["accuracy"] <= 1
    assert row == evaluate_candidate(setting(PTQ), 5, choices)


def test_pruning_comes_first():
    shared = setting({"base": "4w4u", "prune": [0.0, 0.5]})
    made = make_candidate(shared, 0, {"prune": 0.5})
    assert made.details["channels"] == {"conv1": 2, "conv2": 4}
    net = float_net()
    prune_(net, stripes(96), ratios=0.5, batches=2, batch=24, seed=0)
    assert parts(made.integers.graph) == parts(by_hand(shared, {"prune": 0.5}, net).graph)
    assert "channels" not in make_candidate(shared, 1, {"prune": 0.0}).details


@pytest.mark.parametrize("scheme", ["itq", "itq-scratch"])
def test_candidates_that_train(scheme):
    shared = setting({"base": "4w4u", "scheme": ["ptq", "itq", "itq-scratch"]})
    plain = make_candidate(shared, 0, {"scheme": "ptq"})
    made, again = (make_candidate(shared, 1, {"scheme": scheme}) for _ in range(2))
    assert parts(made.integers.graph) == parts(again.integers.graph)
    assert parts(made.integers.graph) != parts(plain.integers.graph)
    assert made.quant == plain.quant
    other = make_candidate(shared, 2, {"scheme": scheme})  # another number, another order of samples
    assert parts(made.integers.graph) != parts(other.integers.graph)


def test_candidates_of_another_network_in_the_same_folder_train_anew(tmp_path):
    shared = setting({"base": "4w4u", "scheme": ["itq"]}, folder=tmp_path)
    other = float_net()
    with torch.no_grad():
        other.conv1.weight[0, 0, 0, 0] += 1.0
    choices = {"scheme": "itq"}
    for kept in (shared, replace(shared, net=other)):
        alone = make_candidate(replace(kept, folder=None), 0, choices)
        for _ in range(2):  # the second time it is read
            assert parts(make_candidate(kept, 0, choices).integers.graph) == parts(alone.integers.graph)
    folders = sorted(path.name for path in (tmp_path / "candidates").iterdir())
    assert [name[:6] for name in folders] == ["00000-", "00000-"]


def test_a_candidate_that_another_process_still_trains_is_trained_beside(tmp_path):
    shared = setting({"base": "4w4u", "scheme": ["itq"]}, folder=tmp_path)
    choices = {"scheme": "itq"}
    made = make_candidate(shared, 0, choices)
    (place,) = (tmp_path / "candidates").iterdir()
    for file in place.iterdir():
        file.unlink()
    with own_folder(place):
        assert parts(make_candidate(shared, 0, choices).integers.graph) == parts(made.integers.graph)
        assert not any(place.iterdir())


def test_fresh_weights_need_a_network_that_can_be_built_anew():
    shared = setting({"base": "4w4u", "scheme": ["itq-scratch"]})
    del shared.net.model_name
    with pytest.raises(ValueError, match="itq-scratch needs a network of the registry"):
        make_candidate(shared, 0, {"scheme": "itq-scratch"})


def test_training_without_a_recipe_is_refused():
    with pytest.raises(ValueError, match="a candidate that trains needs a recipe"):
        make_candidate(setting({"base": "4w4u", "scheme": ["itq"]}, recipe=None), 0, {"scheme": "itq"})


def test_what_falls_far_behind_a_rival_of_no_more_memory_stops():
    shared = setting({"base": "4w4u", "scheme": ["itq"]})
    with pytest.raises(Hopeless) as stopped:
        make_candidate(shared, 0, {"scheme": "itq"}, [Rival(10, (1.5,))])
    assert len(stopped.value.history) == 1
    larger = Rival(stopped.value.memory + 1, (1.5,))
    made = make_candidate(shared, 0, {"scheme": "itq"}, [larger])
    assert made.details["history"] == stopped.value.history


def test_noise_follows_the_number():
    space = {"base": "3w3u", "weight.rounding": ["stochastic"], "membrane.rounding": ["stochastic"]}
    shared = setting(space)
    choices = {name: "stochastic" for name in space if name != "base"}
    one, same, other = (make_candidate(shared, number, choices) for number in (0, 0, 1))
    assert one.quant.membrane.seed == shared.seed_of(0, "quantization")
    assert one.quant.weight.seed == shared.seed_of(0, "quantization")
    assert parts(one.integers.graph) == parts(same.integers.graph)
    assert parts(one.integers.graph) != parts(other.integers.graph)


def test_a_seed_that_is_named_stays():
    told = {"weight": {"rounding": "stochastic", "seed": 7}, "membrane": {"rounding": "stochastic"}}
    found = seeded(SpecChange.of({**told, "override": {"a": {"weight": {"rounding": "stochastic"}}}}), 9)
    assert found.weight["seed"] == 7
    assert found.membrane["seed"] == 9
    assert found.overrides["a"]["weight"]["seed"] == 9
    assert "seed" not in found.ends


def test_threads_do_not_change_a_candidate_and_stay_as_they_were():
    shared = setting({"base": "2w2u", "scheme": ["itq"]})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = make_candidate(shared, 0, {"scheme": "itq"})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert parts(two.integers.graph) == parts(make_candidate(shared, 0, {"scheme": "itq"}).integers.graph)


def test_fresh_weights_of_a_pruned_network_are_those_of_a_pruned_one():
    net = float_net()
    prune_(net, ratios=0.5, criterion="magnitude")
    shared = replace(setting({"base": "4w4u", "scheme": ["ptq", "itq-scratch"]}), net=net)
    kept, fresh = (make_candidate(shared, 0, {"scheme": scheme}).integers.graph for scheme in ("ptq", "itq-scratch"))
    assert [node.operator.weight.shape for node in fresh.spiking] == [
        node.operator.weight.shape for node in kept.spiking
    ]
