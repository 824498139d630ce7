"""Spaces: what they hold, in which order, and what they refuse."""

import tomllib

import pytest

from bitspike.explore import Space
from bitspike.explore.space import DEFAULT_DIMENSIONS, path
from bitspike.ptq import SpecChange


def test_all_choices_the_last_dimension_fastest():
    space = Space({"weight.bits": [2, 4], "scheme": ["ptq", "itq"]})
    assert space.size == 4
    assert [tuple(choices.values()) for choices in space] == [(2, "ptq"), (2, "itq"), (4, "ptq"), (4, "itq")]


def test_one_at_a_time_from_the_first_values():
    space = Space({"weight.bits": [8, 4, 2], "membrane.bits": [8, 3], "prune": [0]})
    found = [tuple(choices.values()) for choices in space.one_at_a_time()]
    assert found == [(8, 8, 0), (4, 8, 0), (2, 8, 0), (8, 3, 0)]


def test_toml_tables_and_dotted_names_are_the_same_space():
    start = 'base = "8w8u"\nscheme = ["ptq"]\n'
    nested = start + '[weight]\nbits = [2, 4]\n[override.conv1.membrane]\nrange = ["mse", 2.5]\n'
    flat = start + '"weight.bits" = [2, 4]\n"override.conv1.membrane.range" = ["mse", 2.5]\n'
    space = Space.of(tomllib.loads(nested))
    assert space == Space.of(tomllib.loads(flat))
    assert Space.of(space.to_dict()) == space
    assert Space.of(space) is space
    assert Space.of(None).dimensions == DEFAULT_DIMENSIONS


def test_a_candidate_stands_on_the_base():
    space = Space({"scheme": ["itq"], "prune": [0.25], "weight.bits": [2], "override.a.*.b.weight.bits": [3]}, "8w4u")
    found = space.candidate(next(iter(space)))
    assert (found.scheme, found.prune, found.trains) == ("itq", 0.25, True)
    wanted = SpecChange.of({"bits": "8w4u", "weight": {"bits": 2}, "override": {"a.*.b": {"weight": {"bits": 3}}}})
    assert found.change == wanted
    assert not Space({"weight.bits": [2]}).candidate({"weight.bits": 2}).trains


def test_candidates_leave_a_base_that_is_a_table_as_it_is():
    base = {"weight": {"bits": 8}}
    Space({"weight.bits": [2]}, base).candidate({"weight.bits": 2})
    assert base == {"weight": {"bits": 8}}


def test_patterns_of_layers_may_hold_dots():
    assert path("override.stage1.*.first.weight.bits") == ("override", "stage1.*.first", "weight", "bits")
    assert path("override.conv1.membrane.leak_bits") == ("override", "conv1", "membrane", "leak_bits")
    assert path("membrane.leak_bits") == ("membrane", "leak_bits")


@pytest.mark.parametrize(
    "name",
    ["weight", "weight.bitz", "weight.leak_bits", "bits", "override.conv1.bits", "override.weight.bits", "a.b.c"],
)
def test_no_dimension(name):
    with pytest.raises(ValueError, match=r"is no dimension of a space.*allowed: scheme, prune, weight\.FIELD"):
        Space({name: [1]})


@pytest.mark.parametrize(
    ("dimension", "values", "said"),
    [
        ("weight.bits", [], "give a list of one or more"),
        ("weight.bits", 4, "give a list of one or more"),
        ("weight.scale", "mse", "give a list of one or more"),
        ("weight.bits", [2, 2], "each may stand there once"),
        ("weight.bits", [2, None], "each must be a number, text, true or false"),
        ("weight.bits", [[2]], "each must be a number, text, true or false"),
        ("scheme", ["ptq", "qat"], "scheme may be 'qat'; allowed: ptq, itq, itq-scratch"),
        ("prune", [0.5, 1], "prune may be 1; allowed: 0 up to less than 1"),
        ("prune", [-0.1], "prune may be -0.1"),
        ("prune", [True], "prune may be True"),
        ("prune", ["half"], "prune may be 'half'"),
    ],
)
def test_values_that_cannot_be(dimension, values, said):
    with pytest.raises(ValueError, match=said):
        Space({dimension: values})


def test_spaces_that_cannot_be():
    with pytest.raises(ValueError, match="the space has no dimension"):
        Space({})
    with pytest.raises(TypeError, match="the space is of type list; give a Space or a table"):
        Space.of([1])
    with pytest.raises(ValueError, match="the key is 'weigth'"):
        Space({"weight.bits": [2]}, {"weigth": {"bits": 2}})
    with pytest.raises(ValueError, match=r"the choices say nothing of membrane\.bits"):
        Space({"weight.bits": [2], "membrane.bits": [2]}).candidate({"weight.bits": 2})
