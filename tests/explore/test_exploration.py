"""The table of an exploration."""

import json

import pytest
from tables import exploration

from bitspike.explore import Exploration
from bitspike.spec import MembraneSpec, QuantSpec


def test_front_finished_stopped_failed():
    found = exploration()
    assert [row.number for row in found.front] == [0, 1]
    assert [row.number for row in found.finished] == [0, 1, 2]
    assert ([row.number for row in found.stopped], [row.number for row in found.failed]) == ([3], [4])
    assert found.smallest(0.02).number == 1
    assert found.best("additive", 0.0).number == 1
    assert found.best("additive", 10.0).number == 0


def test_as_plain_data_and_back():
    found = exploration()
    assert Exploration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("number", "said"), [(9, "there are 0 to 5"), (3, "it is pruned"), (5, "it is waiting"), (4, "script")]
)
def test_candidates_without_numbers(number, said):
    with pytest.raises(ValueError, match=said):
        exploration().row(number)


def test_what_candidates_are_compared_with():
    slow = QuantSpec.from_dict({"override": {"conv2": {"membrane": {"leak": 0.9}}}})
    mixed = QuantSpec.from_dict({"override": {"conv2": {"weight": {"bits": 4}}}})
    words = [exploration(quant=spec.to_dict()).start for spec in (QuantSpec(), slow, mixed, QuantSpec.parse("4w4u"))]
    assert words == ["float network", "float network", "network as given", "network as given"]
    assert exploration(quant=QuantSpec(membrane=MembraneSpec(bits=4)).to_dict()).start == "network as given"
