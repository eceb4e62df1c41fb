"""What documentation and notebooks point at is there: files, headings, commands and their options."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from multimodal_algo.cli import main

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "notebooks/README.md",
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
FENCE = re.compile(r"^(```+|~~~+)(\w*)[^\n]*\n(.*?)^\1\s*?$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+).+?\1")
# [text](target), ![text](target) and [name]: target
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
AWAY = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    """A page's Markdown; of a notebook that of its cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def links(page: Path) -> list[str]:
    """The targets in a page that are no addresses elsewhere."""
    prose = CODE.sub("", FENCE.sub("", text_of(page)))
    targets = [one or other for one, other in LINK.findall(prose)]
    return [target for target in targets if not AWAY.match(target)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(FENCE.sub("", text_of(page))):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = unquote(target).partition("#")
        there = (page.parent / path).resolve() if path else page
        if (
            not there.exists()
            or not there.is_relative_to(ROOT)
            or (anchor and there.suffix == ".md" and anchor not in anchors(there))
        ):
            broken.append(target)
    assert broken == []


def commands(page: Path) -> Iterator[list[str]]:
    """The words after ``multimodal-algo`` of each such command in a page's console blocks."""
    for _, language, block in FENCE.findall(text_of(page)):
        if language != "console":
            continue
        for line in block.replace("\\\n", " ").split("\n"):
            if line.startswith("$ multimodal-algo"):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                end = next((place for place, word in enumerate(words) if word in ("|", "&&", ";", ">")), len(words))
                yield words[1:end]


def problem(words: list[str]) -> str | None:
    """What is wrong with the words of a command; None where all of it exists."""
    command: click.Command = main
    context = click.Context(command)
    left = list(words)
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        word = left.pop(0)
        inner = command.get_command(context, word)
        if inner is None:
            return f"there is no command '{word}'"
        command, context = inner, click.Context(inner, info_name=word, parent=context)
    if isinstance(command, click.Group) and not left:
        return "a group is no command"
    known = {option: parameter for parameter in command.get_params(context) for option in parameter.opts}
    known |= {option: parameter for parameter in command.get_params(context) for option in parameter.secondary_opts}
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            continue
        name, separator, _ = word.partition("=")
        parameter = known.get(name)
        if parameter is None:
            return f"there is no option '{name}'"
        if isinstance(parameter, click.Option) and not parameter.is_flag and not separator:
            if not left:
                return f"'{name}' has no value"
            value = left.pop(0)
            if isinstance(parameter.type, click.Choice) and value not in parameter.type.choices:
                return f"'{name}' does not take '{value}'"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = {" ".join(words): told for words in commands(page) if (told := problem(words))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("fly", "there is no command 'fly'"),
        ("local fly", "there is no command 'fly'"),
        ("validate data.csv --loudly", "there is no option '--loudly'"),
        ("local transform --split-type Row", "'--split-type' does not take 'Row'"),
        ("local", "a group is no command"),
        ("local train --train train.csv -p n_mins=4", None),
        ("--version", None),
    ],
)
def test_commands_that_are_not_there_would_be_found(line: str, told: str | None) -> None:
    assert problem(line.split()) == told


def test_anchors_are_githubs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `B_c`, d — e!\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n## [Link](x.md) 2.0\n")
    assert anchors(page) == {"a-b_c-d--e", "twice", "twice-1", "link-20"}
