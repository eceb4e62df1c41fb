"""Copies the pages of the repository for the site: ``docs_pages.py build/docs/pages``.

Folders stay as they are, so that links between pages hold on GitHub and on the site. The README is the site's home.
Files that pages link to, for example policies, are copied too.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "benchmarks/README.md", "notebooks/README.md")
_LINK = re.compile(r"\]\(([^)#\s]+)")


def main(target: Path) -> None:
    """Copy all pages, and the files that they link to, into an empty folder."""
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for link in _LINK.findall(text):
            linked = (page.parent / link).resolve()
            if linked.is_file() and linked.is_relative_to(ROOT) and linked.suffix != ".md":
                _copy(linked, target)
            elif linked.is_dir() and linked.is_relative_to(ROOT):
                # A site has no listing of a folder. Its first page or file stands for it.
                first = next(path for path in sorted(linked.iterdir()) if path.is_file())
                text = text.replace(f"]({link})", f"]({link.rstrip('/')}/{first.name})")
                _copy(first, target)
        copied = target / page.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(text, encoding="utf-8")


def _copy(path: Path, target: Path) -> None:
    copied = target / path.relative_to(ROOT)
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copied)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
