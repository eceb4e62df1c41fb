"""Pictures of a job's report for the documentation: ``report_pictures.py report.html docs/images``.

Chromium draws the page with some of its sections. Needs ``chromium`` on the path, as ``apt-get install chromium``
installs it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

# Sections by their titles. Others are left out of the picture.
PICTURES = {
    "report_scores": ("How good it is", "Each branch alone", "What each modality adds"),
    "report_classes": ("Confusion matrix", "Calibration", "Most frequent mistakes"),
    "report_mistakes": ("Most confident mistakes",),
}
_SECTION = re.compile(r"<section.*?</section>", re.DOTALL)
_TITLE = re.compile(r"<h2[^>]*>(.*?)</h2>", re.DOTALL)
_WIDTH, _HEIGHT, _COLOURS, _MARGIN = 1000, 4000, 128, 16


def main(report: Path, output: Path) -> None:
    """Draw all pictures of a report."""
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not browser:
        sys.exit("There is no chromium. Install it, on Debian with: apt-get install chromium")
    page = report.read_text(encoding="utf-8")
    output.mkdir(parents=True, exist_ok=True)
    for name, titles in PICTURES.items():
        _draw(browser, _only(page, titles), output / f"{name}.png")
        print(output / f"{name}.png")


def _only(page: str, titles: tuple[str, ...]) -> str:
    """Return the page without the sections that have other titles."""
    seen = [match[1].strip() for match in _TITLE.finditer(page)]
    if missing := [title for title in titles if title not in seen]:
        sys.exit(f"The report has no section '{missing[0]}'. It has {', '.join(seen)}.")

    def kept(match: re.Match[str]) -> str:
        title = _TITLE.search(match[0])
        return match[0] if title is None or title[1].strip() in titles else ""

    return _SECTION.sub(kept, page)


def _draw(browser: str, page: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, picture = Path(scratch) / "page.html", Path(scratch) / "page.png"
        source.write_text(page, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={scratch}/user",
        ]
        size = f"--window-size={_WIDTH},{_HEIGHT}"
        command = [browser, *options, size, f"--screenshot={picture}", source.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        image = Image.open(picture).convert("RGB")
        background = Image.new("RGB", image.size, image.getpixel((0, _HEIGHT - 1)))
        bottom = ImageChops.difference(image, background).getbbox()[3]
        image.crop((0, 0, _WIDTH, min(bottom + _MARGIN, _HEIGHT))).quantize(_COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
