"""The page of an exploration: complete, self-contained, and safe with any text."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from tables import NASTY, exploration
from test_plot import SWEEP

from bitspike.explore import Baseline, Exploration, Row
from bitspike.explore.page import PAGE, PICKED, SIGNIFICANCE, exploration_page, write_page

PICK = {
    "number": 1,
    "validation_accuracy": 0.91,
    "test_accuracy": 0.905,
    "test_samples": 1234,
    "test_accuracies_of_seeds": [0.905, 0.895],
    "memory": 1500,
}


class Seen(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_everything_is_there():
    text = exploration_page(exploration(network="abc123"), [PICK], SWEEP)
    seen = Seen(text)
    assert not seen.open
    for told in ("6 candidates: 3 with numbers, 1 stopped in training, 1 that could not be made",
                 "float network has 92.00 %",
                 "after each epoch 50.0, 91.0", "pruned; after each epoch 20.0", "abc123", "90.00 ± 0.71", "1,234",
                 "conv1 weights", "waiting"):  # fmt: skip
        assert told in seen.text, told
    assert sum(tag == "svg" for tag, _ in seen.tags) == 3
    assert ("tr", {"class": "picked"}) in seen.tags
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(picture)


def test_no_script_and_no_other_file_and_all_text_escaped():
    found = exploration(**{NASTY: NASTY, "quant": {}})
    text = exploration_page(found, [PICK], SWEEP)
    seen = Seen(text)
    assert NASTY in seen.text
    assert {"script", "link", "img", "iframe", "object", "a"}.isdisjoint(tag for tag, _ in seen.tags)
    assert "http" not in text.replace(NASTY, "")
    assert not any(name in ("src", "href") or name.startswith("on") for _, given in seen.tags for name in given)


def test_a_table_without_numbers():
    rows = (Row(0, "waiting", {"weight.bits": 1}, {}),)
    empty = Exploration(("accuracy", "memory"), Baseline(0.9, 1000), rows, {})
    text = exploration_page(empty)
    assert "No candidate is finished yet" in text
    assert "<svg" not in text
    one = (Row(0, "complete", {"weight.bits": 1}, {"accuracy": 0.9, "memory": 1000}),)
    assert "<svg" in exploration_page(Exploration(("accuracy", "memory"), Baseline(0.9, 1000), one, {}))


def test_what_lies_in_the_folder_is_on_it(tmp_path):
    assert write_page(tmp_path, exploration()) == tmp_path / PAGE
    plain = (tmp_path / PAGE).read_text()
    assert plain == exploration_page(exploration())
    (tmp_path / PICKED).write_text(json.dumps([{**PICK, "number": 0}, PICK]))
    (tmp_path / SIGNIFICANCE).write_text(json.dumps(SWEEP.to_dict()))
    write_page(tmp_path, exploration())
    text = (tmp_path / PAGE).read_text()
    assert "looked at more than once" in text
    assert "Significance" in text
    assert "picked, number 1" in text


@pytest.mark.parametrize("name", [PICKED, SIGNIFICANCE])
@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1]"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        write_page(tmp_path, exploration())
