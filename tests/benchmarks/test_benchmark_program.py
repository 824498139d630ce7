"""How benchmarks end: what is missing is named, the file and the last line hold one result."""

import argparse
import json

from _shared.program import Clock, finish


def test_the_last_line_and_the_file_are_the_result(tmp_path, capsys):
    result = {"rows": [1], "missing": ["peer: no network"]}
    file = tmp_path / "new" / "result.json"
    finish(result, argparse.Namespace(out=file, json=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "missing: peer: no network"
    assert json.loads(lines[-1]) == json.loads(file.read_text()) == result


def test_nothing_is_written_unasked(tmp_path, capsys):
    finish({"missing": []}, argparse.Namespace(out=None, json=False))
    assert capsys.readouterr().out == ""


def test_progress_stays_off_standard_output(capsys):
    Clock().say("timing")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "[    0 s] timing\n"
