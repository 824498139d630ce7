"""Tables, and the one JSON object."""

import json
import math

from bitspike.cli import output
from bitspike.cli.output import Output


def test_json_is_one_object_and_holds_no_nan(capsys):
    Output(as_json=True).finish({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (1, 2)}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": [1, 2]}}


def test_tables_are_for_people_only(capsys):
    table = output.table("sizes", ("layer", "bytes"), [("conv[1]", "12 B")])
    Output(as_json=True).show(table, "text")
    assert capsys.readouterr().out == ""
    Output().show(table, "[bold]text[/bold]")
    Output().finish({"a": 1})
    shown = capsys.readouterr().out
    assert "conv[1]" in shown
    assert "[bold]text[/bold]" in shown  # nothing that comes from a file is markup
    assert '"a"' not in shown


def test_quiet_keeps_hints_and_notes_back(capsys):
    loud, quiet = Output(), Output(quiet=True)
    for each in (loud, quiet):
        each.hint("hint")
        each.note("note")
        each.show("result")
    captured = capsys.readouterr()
    assert captured.out == "hint\nresult\nresult\n"
    assert captured.err == "note\n"


def test_no_bar_where_standard_error_is_no_terminal(capsys):
    with Output().progress("working", 3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_commands_are_shown_as_they_can_be_typed(monkeypatch, tmp_path):
    from bitspike.cli.program import command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    script = tmp_path / ".venv" / "bin" / "bitspike"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script), "demo"])
    assert command("evaluate", "my runs/m") == ".venv/bin/bitspike evaluate 'my runs/m'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert command("doctor") == "bitspike doctor"
    monkeypatch.setattr("sys.argv", ["/somewhere/bitspike/__main__.py"])
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert command("doctor") == "python -m bitspike doctor"
