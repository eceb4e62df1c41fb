"""Looks at reports in a headless Chromium: one start measures every page at every width, light and dark."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(os.environ.get("AXE_CORE", "build/axe/node_modules/axe-core/axe.min.js"))
"""The script of axe-core, which `.ci/chromium` installs. Without it, accessibility is not checked."""

_WIDTHS = (400, 800, 1600)
CHECKED = ((400, "light"), (1600, "dark"))
"""The widths and schemes at which axe checks each page."""
# Measures a page in its frame. An element may be wider than the screen only inside an element that scrolls.
_MEASURE = """
async function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll("details").forEach(each => each.open = true);
  const scrolls = each => each && (view.getComputedStyle(each).overflowX !== "visible" || scrolls(each.parentElement));
  const name = each => each.tagName + "." + each.className + ": " + each.textContent.trim().slice(0, 40);
  const all = [...page.body.querySelectorAll("*")].filter(each => !each.closest(".hidden"));
  const result = {
    name: frame.dataset.name, scheme: frame.dataset.scheme, width: view.innerWidth,
    is_dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    page: page.documentElement.scrollWidth,
    wide: all.filter(each => each.getBoundingClientRect().right > view.innerWidth + 1 && !scrolls(each)).map(name),
    cut: all.filter(each => view.getComputedStyle(each).overflowX === "hidden")
      .filter(each => each.scrollWidth > each.clientWidth + 1).map(name),
    violations: [],
  };
  if (frame.dataset.axe) {
    const checked = await view.axe.run(page, { resultTypes: ["violations"] });
    const places = each => each.nodes.slice(0, 3).map(node => node.html.slice(0, 150)).join(" | ");
    result.violations = checked.violations.map(each => each.id + " (" + each.help + "): " + places(each));
    result.checked = checked.passes.length;
  }
  return result;
}
async function run() {
  const results = [];
  for (const frame of document.querySelectorAll("iframe")) results.push(await measure(frame));
  document.getElementById("results").textContent = JSON.stringify(results);
}
addEventListener("load", run);
"""


def browser() -> str | None:
    """Return the path of the browser, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def look_at(pages: Mapping[str, str], directory: Path) -> list[dict[str, Any]]:
    """Return what is measured of each page at each width, light and dark.

    Parameters
    ----------
    pages
        HTML by the name of the page.
    directory
        An empty directory.
    """
    axe = AXE.read_text(encoding="utf-8") if AXE.is_file() else ""
    frames = []
    for name, page in pages.items():
        for width, scheme in itertools.product(_WIDTHS, ("light", "dark")):
            # Axe takes seconds for each frame. What it finds hardly depends on the width.
            has_axe = bool(axe) and (width, scheme) in CHECKED
            source = page.replace("</head>", f"<script>{axe}</script></head>") if has_axe else page
            frames.append(
                f'<iframe data-name="{name}" data-scheme="{scheme}" data-axe="{"yes" if has_axe else ""}" '
                f'style="width: {width}px; height: 900px; border: 0; color-scheme: {scheme}" '
                f'srcdoc="{html.escape(source)}"></iframe>'
            )
    harness = directory / "frames.html"
    harness.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{"".join(frames)}<pre id="results"></pre>'
        f"<script>{_MEASURE}</script></body>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'profile'}", "--virtual-time-budget=60000", "--dump-dom", harness.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    match = re.search(r'<pre id="results">(.*?)</pre>', done.stdout, re.S)
    assert match is not None, done.stderr
    return list(json.loads(html.unescape(match[1])))
