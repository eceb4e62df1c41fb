"""The site of ``make docs`` has every page, and links that lead out of the pages lead to copied files."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = re.compile(r"^ *- (?:[\w ]+: )?(\S+\.md)$", re.MULTILINE)


def test_the_navigation_has_every_page_but_the_decisions() -> None:
    named = PAGE.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    found = (path for pattern in ("*.md", "docs/*.md", "*/README.md") for path in ROOT.glob(pattern))
    pages = [path for path in found if not path.parent.name.startswith(".")]
    expected = {path.relative_to(ROOT).as_posix() for path in pages if path.parent.name != "decisions"}
    assert set(named) - {"docs/decisions/README.md"} == expected
    assert len(named) == len(set(named))


def test_pages_keep_their_places_and_what_they_link_to_is_there(tmp_path: Path) -> None:
    copy = runpy.run_path(str(ROOT / "scripts/docs_pages.py"))["main"]
    copy(tmp_path)
    assert (tmp_path / "README.md").is_file()
    assert (tmp_path / "docs/images/report_scores.png").is_file()
    for page in tmp_path.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert re.match(r"[a-z]+:", target) or (page.parent / target).is_file(), (page, target)
