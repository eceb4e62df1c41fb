"""Write what the images install, from pyproject.toml and constraints.txt.

    requirements.py PYPROJECT CONSTRAINTS OUTPUT_DIR [TORCH_INDEX_URL]

``requirements.txt`` holds the run-time dependencies and ``constraints.txt`` their exact versions. With an index of
torch builds (its last path segment names the build, as in ``…/whl/cu126``), torch and torchvision are pinned to that
build there, and the CUDA packages of the plain index's build are not pinned at all.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_BUILT_BY_TORCH = ("torch", "torchvision")
_CUDA_PACKAGES = re.compile(r"(nvidia|cuda|triton)\b")
# Belongs to AutoGluon's resource monitor, not to torch's build.
_NOT_TORCHS = ("nvidia-ml-py3",)


def image_constraints(constraints: str, torch_index_url: str) -> list[str]:
    """The lines of constraints.txt that hold in an image with torch from `torch_index_url` (empty: plain index)."""
    pins = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    if not torch_index_url:
        return pins
    build = torch_index_url.rstrip("/").rpartition("/")[2]
    kept = []
    for pin in pins:
        name, version = re.split("===?", pin)
        if name in _BUILT_BY_TORCH:
            kept.append(f"{name}=={version}+{build}")
        elif name in _NOT_TORCHS or not _CUDA_PACKAGES.match(name):
            kept.append(pin)
    return kept


def main(pyproject: str, constraints: str, output: str, torch_index_url: str = "") -> None:
    """Write both files into the directory `output`."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    directory = Path(output)
    directory.mkdir(parents=True, exist_ok=True)
    pins = image_constraints(Path(constraints).read_text(encoding="utf-8"), torch_index_url)
    # The package itself is built in the images, without an index.
    requirements = [*project["dependencies"], *project["optional-dependencies"]["onnx"], "setuptools"]
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    (directory / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
