"""The documentation holds: its code runs, its links lead somewhere, its commands parse, its tables equal the code."""

from __future__ import annotations

import re
import shlex
from dataclasses import MISSING, fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from needed_tools import need_module, need_tool

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    + [path for path in (ROOT / "docs").rglob("*.md") if path.name != "FINDINGS.md"]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS_DATA = re.compile(r"# needs data: ([\w, -]+)\n")
NEEDS_MODULES = re.compile(r"# needs: ([\w, -]+)\n")
NEEDS_TOOLS = re.compile(r"# needs tools: ([\w, -]+)\n")

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


class Block(NamedTuple):
    language: str
    line: int
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], text[: m.start()].count("\n") + 2, m[2]) for m in FENCE.finditer(text)]


def reference(name: str) -> str:
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, list[str]]:
    """First column (in backticks) -> the other columns, of every table row in the text."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name = cells[0].split("`")[1]
            assert name not in found, f"{name} stands in two rows"
            found[name] = cells[1:]
    return found


def sections(text: str) -> dict[str, str]:
    """Text below each second-level heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip((title.strip("`") for title in parts[::2]), parts[1::2], strict=True))


# Code


@every_page
@pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitspike.data import dataset_info
    from bitspike.model import registry

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))  # pages may register networks of their own
    namespace: dict[str, object] = {"__name__": f"docs_{page.stem}"}
    left_out = []
    for block in blocks(page):
        if block.language != "python":
            continue
        wanted = NEEDS_DATA.match(block.code)
        missing = [name for name in (wanted[1].split(", ") if wanted else []) if not dataset_info(name)["present"]]
        if missing:
            left_out.append(f"line {block.line} needs {', '.join(missing)}")
            continue
        libraries = NEEDS_MODULES.match(block.code)
        for library in libraries[1].split(", ") if libraries else ():
            need_module(library)
        tools = NEEDS_TOOLS.match(block.code)
        for tool in tools[1].split(", ") if tools else ():
            need_tool(tool)
        # The empty lines in front make tracebacks name the line of the page.
        exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
    if left_out:
        pytest.skip(f"the rest ran; {'; '.join(left_out)}")


def test_there_is_code_to_run() -> None:
    assert sum(block.language == "python" for page in PAGES for block in blocks(page)) >= 25


# Links and form


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name}: {target}"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@every_page
def test_paths_in_backticks_exist(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for path in re.findall(r"`((?:docs|tests|recipes|src|benchmarks)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


@every_page
def test_page_ends_with_its_limits(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    assert headings[-1] == "Limits"


def test_index_names_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", text)}
    assert {path for path in (ROOT / "docs").rglob("*.md") if path.name != "index.md"} <= linked


# Commands


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(where, words after `bitspike`) of every command line in a console or bash block, and in backticks."""
    found = []
    for block in blocks(page):
        if block.language in ("console", "bash"):
            joined = block.code.replace("\\\n", " ")
            found += [(f"line {block.line}", line) for line in joined.splitlines()]
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    found += [("backticks", line) for line in re.findall(r"`(bitspike [^`]+)`", prose)]
    result = []
    for where, line in found:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        for stop in (">", "|", "&&", ";"):
            words = words[: words.index(stop)] if stop in words else words
        if words and (words[0] == "bitspike" or words[0].endswith("/bitspike")) and words[1:2] != ["COMMAND"]:
            result.append((where, words[1:]))
    return result


def split_command(words: list[str]) -> tuple[str, ...]:
    """The subcommands at the start of a command line."""
    subcommands = {"data": ("info", "fetch", "verify"), "export": ("c", "nir")}
    if not words or words[0].startswith("-"):
        return ()
    inner = subcommands.get(words[0], ())
    return tuple(words[:2]) if len(words) > 1 and words[1] in inner else (words[0],)


@cache
def help_text(*command: str) -> str:
    """What `bitspike COMMAND --help` prints."""
    import contextlib
    import io

    from bitspike.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert main([*command, "--help"]) == 0, printed.getvalue()
    return printed.getvalue()


def options(text: str) -> set[str]:
    """The options that a help text explains: those at the start of a line of its boxes."""
    return {
        flag
        for line in text.splitlines()
        if re.match(r"[│|]\s+(\*\s+)?-", line)
        for flag in re.findall(r"(?<!\S)--[a-z-]+", re.split(r"\s{2,}", line.strip("│| *"))[0])
    }


@every_page
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitspike.cli.app import build_app
    from bitspike.train import list_recipes, read_recipe

    monkeypatch.setenv("COLUMNS", "200")
    for where, words in commands(page):
        command = split_command(words)
        known = options(help_text(*command)) | {"--help", "--version", "--install-completion"}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{page.name}, {where}: {word} in {' '.join(words)}"
        whole = where != "backticks"  # in a sentence the rest of the command may be left out
        if whole and not {"--help", "--version", "--install-completion"} & set(words):
            build_app().parse_args(words, exit_on_error=False, print_error=False)
        if command == ("train",) and len(words) > 1 and words[1] in list_recipes():
            settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            read_recipe(words[1], settings)


@every_page
def test_recipes_in_the_text_are_recipes(page: Path) -> None:
    import tomllib

    from bitspike.train import Recipe

    for block in blocks(page):
        if block.language == "toml":
            table = tomllib.loads(block.code)
            table.setdefault("model", {"name": "small8"})
            table.setdefault("data", {"name": "digits"})
            Recipe.from_dict(table, f"{page.name}, line {block.line}")


def test_command_line_reference_equals_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = sections(reference("command-line.md"))
    commands_listed = set(re.findall(r"^│ ([a-z]+) ", help_text(), re.MULTILINE))
    documented = {title.split()[1] for title in text if title.startswith("bitspike ")}
    assert documented == commands_listed
    for title, part in text.items():
        if title.startswith("bitspike "):
            command = title.split()[1:]
            listed = {flag for name in rows(part) for flag in re.findall(r"--[a-z-]+", name)}
            assert listed == options(help_text(*command)) - {"--help"}, title


# Tables


def plain(value: object) -> str:
    """A default as the tables write it."""
    match value:
        case bool():
            return str(value).lower()
        case Fraction() | str():
            return f'"{value}"'
        case float():
            return f"{value:g}"
        case None:
            return "none"
        case dict():
            return "empty"
    return str(value)


def check_rows(
    documented: dict[str, list[str]], section: str, config: type, choices: dict[str, tuple[str, ...]]
) -> None:
    """Every field once, with its default, and with every allowed word."""
    names = [f"{section}.{item.name}" for item in fields(config)]
    assert [name for name in documented if name.startswith(f"{section}.")] == names
    for item in fields(config):
        cells = documented[f"{section}.{item.name}"]
        default = item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        wanted = "required" if default is MISSING else plain(default)
        assert cells[0].strip("`") == wanted, f"{section}.{item.name}"
        allowed = choices.get(item.name) or (item.metadata or {}).get("choices") or ()
        for word in allowed:
            assert f'`"{word}"`' in cells[1], f"{section}.{item.name}: {word}"
        for bound in ("low", "high", "above"):
            limit = (item.metadata or {}).get(bound)
            if limit is not None:
                assert f"{limit:,.10g}" in cells[1], f"{section}.{item.name}: {bound} {limit}"


def test_recipe_fields_equal_the_code() -> None:
    from bitspike.train import config
    from bitspike.train.autoaugment import POLICIES

    documented = rows(reference("recipe-fields.md"))
    sections_of_code = dict(config._SECTIONS)
    for section, kind in sections_of_code.items():
        check_rows(documented, section, kind, {"autoaugment": ("none", *POLICIES)} if section == "augment" else {})
    known = {f"{section}.{item.name}" for section, kind in sections_of_code.items() for item in fields(kind)}
    assert set(documented) == known | {"name", "quant", "start"}


def test_quantization_fields_equal_the_code() -> None:
    from bitspike import spec
    from bitspike.spec.checks import CHOICES

    documented = rows(reference("quantization-spec.md"))
    choices = CHOICES | {"grid": tuple(spec.WEIGHT_GRIDS), "scale": sum(spec.GRID_SCALES.values(), ())}
    check_rows(documented, "weight", spec.WeightSpec, choices)
    check_rows(documented, "membrane", spec.MembraneSpec, choices)


def test_environment_variables_equal_the_code() -> None:
    documented = set(rows(reference("environment.md")))
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path != Path(__file__).resolve())
    ours = set(re.findall(r"BITSPIKE_[A-Z]+(?:_[A-Z]+)*", text)) - macros()
    read = set(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"", text))
    makes = set(re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert ours | makes <= documented
    assert read <= documented
    for name in documented:
        assert name in text or name == "OMP_NUM_THREADS", f"nothing reads {name}"


def macros() -> set[str]:
    """Names of the C sources, which Python only passes on to a compiler."""
    sources = [path for ending in ("*.c", "*.h") for path in (ROOT / "src").rglob(ending)]
    return {name for path in sources for name in re.findall(r"BITSPIKE_\w+", path.read_text(encoding="utf-8"))}


def test_models_equal_the_registry() -> None:
    import torch

    from bitspike.model import create_model, list_models, model_defaults

    documented = rows(reference("models.md"))
    assert sorted(documented) == list_models()
    for name in documented:
        with torch.device("meta"):
            net = create_model(name)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        shape = "x".join(str(size) for size in model_defaults(name)["input_shape"])
        cells = documented[name]
        assert cells[0] == f"{parameters:,}", name
        assert cells[1] == f"{shape}, T = {model_defaults(name)['time_steps']}", name
        assert cells[2] == str(model_defaults(name)["classes"]), name
        own = set(model_defaults(name)) - {"classes", "input_shape", "time_steps", "mean", "std"}
        assert set(re.findall(r"`(\w+)`", cells[3])) == own, name


def test_data_sets_equal_the_registry() -> None:
    from bitspike.data import dataset_info, dataset_names

    documented = rows(reference("data-sets.md"))
    assert list(documented) == dataset_names()
    for name, cells in documented.items():
        info = dataset_info(name)
        steps = f", T = {info['time_steps']}" if info["time_steps"] else ""
        assert cells[:4] == [
            info["kind"],
            "x".join(str(size) for size in info["shape"]) + steps,
            str(info["classes"]),
            f"{info['train']:,} / {info['test']:,}",
        ], name
        assert ("yes" if info["mirrors"] else "no") == cells[4], name


def test_python_reference_names_every_public_name() -> None:
    import importlib

    documented = sections(reference("python-api.md"))
    modules = [title for title in documented if title.startswith("bitspike")]
    assert len(modules) >= 7
    for title in modules:
        module = importlib.import_module(title)
        names = set(rows(documented[title]))
        assert names == set(module.__all__), title


def test_readme_recipe_table_names_recipes() -> None:
    from bitspike.train import list_recipes

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:qsnn|digits|mnist)-[\w-]+)`", text))
    assert named
    assert named <= set(list_recipes())
