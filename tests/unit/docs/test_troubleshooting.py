"""``docs/troubleshooting.md`` quotes messages as they are printed.

In a table whose first column has the heading ``message``, every code span of that column is a message. Its fragments
are separated by ``…`` where something varies. They stand in this order in one string of the source. Other tables, for
example that of the platform's own messages, are not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/troubleshooting.md"
# A part that an f-string puts in. It is not in any fragment.
VARIABLE = "\0"


def rows() -> Iterator[tuple[str, list[str]]]:
    """Yield the heading of the first column and the cells of each table row."""
    heading = None
    for line in PAGE.read_text(encoding="utf-8").split("\n"):
        if not line.startswith("|"):
            heading = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if heading is None:
            heading = cells[0]
        elif set(cells[0]) - set("- "):
            yield heading, cells


def quoted() -> list[str]:
    return [
        message for heading, cells in rows() if heading == "message" for message in re.findall(r"`([^`]+)`", cells[0])
    ]


@cache
def strings() -> tuple[str, ...]:
    """Return every string of the source but docstrings, with `VARIABLE` where an f-string puts something in."""
    texts: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else VARIABLE for part in node.values)
                texts.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                texts.add(node.value)
    return tuple(texts)


def is_printed(message: str) -> bool:
    fragments = [fragment.strip() for fragment in message.split("…")]
    pattern = re.compile(".*".join(map(re.escape, filter(None, fragments))), re.DOTALL)
    return any(pattern.search(text) for text in strings())


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_in_the_source(message: str) -> None:
    assert max(map(len, message.split("…"))) >= 8, "too short to identify a message"
    assert is_printed(message)


def test_messages_that_nobody_prints_would_be_found() -> None:
    assert not is_printed("The training … is bored")
    assert not is_printed("instead of … fields")  # in another order


def test_every_table_names_what_it_quotes() -> None:
    headings = {heading for heading, _ in rows()}
    assert headings == {"message", "message of the platform", "exit code", "where", "met in the guide"}
    assert all(len(cells) == 3 for heading, cells in rows() if heading.startswith("message"))
    assert len(quoted()) > 100
