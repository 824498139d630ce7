"""`bitspike significance`: table, picture, and a space that `explore` takes."""

import json
import tomllib

import pytest

from bitspike.explore import Significance, Space


@pytest.fixture(scope="session")
def swept(trained, run_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept") / "digits"
    done = run_command("significance", trained["float"], "--out", folder, "--json")
    assert done.code == 0, done.err
    return folder, done.json


def test_table_and_space(swept):
    folder, found = swept
    space = Space.of(tomllib.loads((folder / "space.toml").read_text()))
    assert space == Space.of(found["space"])
    told = Significance.from_dict(json.loads((folder / "significance.json").read_text()))
    assert told.to_dict() == {key: found[key] for key in told.to_dict()}
    assert (found["picture"] is None) or (folder / "significance.png").read_bytes().startswith(b"\x89PNG")


def test_for_people_and_again(cli, trained, swept):
    folder, _ = swept
    done = cli("significance", trained["float"], "--out", folder, "--within", "5%")
    assert done.code == 0
    for told in ("membrane", "conv2 weights", "float network", "a space of", "explore"):
        assert told in done.out


def test_its_space_is_explored_and_it_stands_on_the_page(cli, trained, swept, tmp_path):
    folder, _ = swept
    done = cli("explore", trained["float"], "--space", folder / "space.toml", "--sampler", "one-at-a-time", "--out",
               "run", "--json")  # fmt: skip
    assert done.code == 0
    assert "one layer at a time" in (tmp_path / "run" / "exploration.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--within", "much"), "--within is 'much'; give points"),
        (("--within", "150%"), "--within is '150%'"),
        (("--workers", "0"), "--workers is 0"),
        (("--calibration", "5"), "--calibration is '5'; give BATCHESxSAMPLES"),
        (("--calibration", "50x128"), "ask for fewer or smaller batches"),
        (("--data", "mnits"), "did you mean"),
    ],
)
def test_refusals(cli, trained, options, said):
    done = cli("significance", trained["float"], *options, "--out", "s")
    assert done.code == 2
    assert said in done.err
