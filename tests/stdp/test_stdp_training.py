import os
import signal

import numpy as np
import pytest
from stdp_samples import assert_same_state

from bitspike.interrupt import TrainingStopped
from bitspike.locking import FolderInUse, own_folder
from bitspike.stdp import StdpBits, StdpRecipe, evaluate, load, train_stdp
from bitspike.stdp.training import MODEL_FILE, STATE_FILE, order_of_pass


def test_a_run(recipe, spots, tmp_path):
    train, test = spots
    plan = recipe(network={"bits": StdpBits(4)})
    found = train_stdp(plan, train, test=test, out=tmp_path)
    assert found.results["test_accuracy"] > 0.9
    assert found.results["images"] == 1200
    assert [record["pass"] for record in found.results["history"]] == [0, 1]
    assert found.results["validation"]["proportion"] > 0.9
    assert found.results["missing_classes"] == []
    assert np.sum(found.results["test"]["confusion"]) == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == [MODEL_FILE]
    again = train_stdp(plan, train, test=test, out=str(tmp_path))
    assert again.resumed
    assert_same_state(again.network.state, found.network.state)
    assert again.results == found.results


def test_a_second_run_in_the_same_folder_is_refused(recipe, spots, tmp_path):
    train, _ = spots
    with own_folder(tmp_path), pytest.raises(FolderInUse, match="another process trains in"):
        train_stdp(recipe(), train, out=tmp_path)
    assert not any(tmp_path.iterdir())
    assert train_stdp(recipe(), train, out=tmp_path).model_file == tmp_path / MODEL_FILE


@pytest.mark.parametrize("bits", [None, StdpBits(4)], ids=["float", "4 bits"])
def test_a_stopped_run_goes_on_bit_for_bit(bits, recipe, spots, tmp_path):
    train, _ = spots
    plan = recipe(network={"bits": bits})
    whole = train_stdp(plan, train)
    stops = iter([250, 750, 1000])
    runs = 0
    stop_at = next(stops)

    def told(what, done, total):
        if what == "learning" and done >= stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    while True:
        try:
            parts = train_stdp(plan, train, out=tmp_path, told=told)
            break
        except TrainingStopped as stopped:
            assert "goes on from there" in str(stopped)
            assert (tmp_path / STATE_FILE).is_file()
            runs += 1
            stop_at = next(stops, 10**9)
    assert runs == 3
    assert parts.resumed
    assert_same_state(parts.network.state, whole.network.state)
    np.testing.assert_array_equal(parts.network.labels.label, whole.network.labels.label)
    assert not (tmp_path / STATE_FILE).exists()


def test_another_run_in_the_folder_is_refused(recipe, spots, tmp_path):
    train, _ = spots
    train_stdp(recipe(passes=1), train, out=tmp_path)
    with pytest.raises(ValueError, match=r"holds another run: recipe\.passes was 1 and is now 2\. Choose another"):
        train_stdp(recipe(passes=2), train, out=tmp_path)
    with pytest.raises(ValueError, match="holds another run: data was"):
        train_stdp(recipe(passes=1), train.subset(slice(0, 500)), out=tmp_path)
    fresh = train_stdp(recipe(passes=2), train, out=tmp_path, resume=False)
    assert load(tmp_path / MODEL_FILE).state.images == fresh.network.state.images == 1200


def test_a_finished_run_is_tested_where_it_was_not(recipe, spots, tmp_path):
    train, test = spots
    plan = recipe(network={"bits": StdpBits(4)}, passes=1)
    train_stdp(plan, train, out=tmp_path)
    found = train_stdp(plan, train, test=test, out=tmp_path)
    assert found.resumed
    assert found.results["test_accuracy"] == evaluate(found.network, test).accuracy
    about = load(tmp_path / MODEL_FILE).about
    assert about["results"] == found.results
    assert (about["data"]["fingerprint"], about["data"]["test_fingerprint"]) == (train.fingerprint, test.fingerprint)
    assert train_stdp(plan, train, test=test, out=tmp_path).results == found.results  # and not tested again


def test_classes_without_a_neuron_are_reported(recipe, spots):
    train, _ = spots
    found = train_stdp(recipe(network={"neurons": 2}, passes=1), train)
    assert len(found.results["missing_classes"]) >= 1


def test_data_that_do_not_fit_are_named(recipe, spots):
    train, _ = spots
    with pytest.raises(ValueError, match="has 49 pixels an image, but the network 50 inputs"):
        train_stdp(recipe(network={"inputs": 50}), train)
    with pytest.raises(ValueError, match=r"stdp\.validation is 700, but there are 700"):
        train_stdp(recipe(validation=700), train)


def test_orders_of_passes_differ():
    orders = [order_of_pass(seed, number, 100) for seed in (0, 1) for number in (0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(100))
    assert len({tuple(order) for order in orders}) == 4


def test_a_recipe_from_tables():
    found = StdpRecipe.from_table(
        {"name": "a", "stdp": {"passes": 3}, "network": {"neurons": 9}, "bits": {"weight": 4}}
    )
    assert (found.passes, found.network.neurons, found.network.bits) == (3, 9, StdpBits(4))
    with pytest.raises(ValueError, match=r"there is no setting stdp\.epochs"):
        StdpRecipe.from_table({"stdp": {"epochs": 3}})
    with pytest.raises(ValueError, match="there is no train in such a recipe"):
        StdpRecipe.from_table({"train": {}})
    with pytest.raises(ValueError, match=r"stdp\.passes is 0"):
        StdpRecipe.from_table({"stdp": {"passes": 0}})
