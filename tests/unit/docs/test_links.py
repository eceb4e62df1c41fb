"""Documentation and notebooks name files, headings, commands and options that exist."""

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
    ROOT / "CONTRIBUTING.md",
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
    """Return the Markdown of a page, or of the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def links(page: Path) -> list[str]:
    """Return the targets in a page that are not addresses elsewhere."""
    prose = CODE.sub("", FENCE.sub("", text_of(page)))
    targets = [inline or reference for inline, reference in LINK.findall(prose)]
    return [target for target in targets if not AWAY.match(target)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    slugs: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(FENCE.sub("", text_of(page))):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        slugs.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(slugs)


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_the_index_of_a_folder_links_every_page_in_it(folder: str) -> None:
    index = ROOT / folder / "README.md"
    pages = {path.name for path in index.parent.glob("*.md")} - {"README.md"}
    assert pages - {target.partition("#")[0] for target in links(index)} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=name_of)
def test_a_decision_has_its_number_and_its_four_parts(path: Path) -> None:
    first, *headings = HEADING.findall(text_of(path))
    assert first.split()[0] == path.name[:3]
    assert headings == ["Context", "Decision", "Alternatives", "Consequences"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = unquote(target).partition("#")
        linked = (page.parent / path).resolve() if path else page
        if (
            not linked.exists()
            or not linked.is_relative_to(ROOT)
            or (anchor and linked.suffix == ".md" and anchor not in anchors(linked))
        ):
            broken.append(target)
    assert broken == []


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after ``multimodal-algo`` of each such command in a page's console blocks."""
    for _, language, block in FENCE.findall(text_of(page)):
        if language != "console":
            continue
        for line in block.replace("\\\n", " ").split("\n"):
            if line.startswith("$ multimodal-algo"):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                end = next((index for index, word in enumerate(words) if word in ("|", "&&", ";", ">")), len(words))
                yield words[1:end]


def problem(words: list[str]) -> str | None:
    """Return the mistake in the words of a command. None where all of them exist."""
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
        return "a group is not a command"
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
    wrong = {" ".join(words): mistake for words in commands(page) if (mistake := problem(words))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("fly", "there is no command 'fly'"),
        ("local fly", "there is no command 'fly'"),
        ("validate data.csv --loudly", "there is no option '--loudly'"),
        ("local transform --split-type Row", "'--split-type' does not take 'Row'"),
        ("local", "a group is not a command"),
        ("local train --train train.csv -p n_mins=4", None),
        ("--version", None),
    ],
)
def test_commands_that_do_not_exist_would_be_found(line: str, mistake: str | None) -> None:
    assert problem(line.split()) == mistake


def test_anchors_are_githubs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `B_c`, d — e!\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n## [Link](x.md) 2.0\n")
    assert anchors(page) == {"a-b_c-d--e", "twice", "twice-1", "link-20"}
