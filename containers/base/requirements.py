"""Write what the images install, from pyproject.toml and constraints.txt.

    requirements.py PYPROJECT CONSTRAINTS OUTPUT_DIR [TORCH_INDEX_URL]

``requirements.txt`` holds the run-time dependencies, with the extras of the images and without the packages that only
the simulator imports. ``constraints.txt`` holds the exact versions. The last path segment of an index of torch builds
names the build, as in ``…/whl/cu126``. With such an index, torch and torchvision are pinned to that build, and the CUDA
packages of the plain index's build are not pinned.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_TORCH_PACKAGES = ("torch", "torchvision")
_CUDA_PACKAGES = re.compile(r"(nvidia|cuda|triton)\b")
# AutoGluon's resource monitor needs this one. It does not belong to a build of torch.
_OTHER_PACKAGES = ("nvidia-ml-py3",)
_EXTRAS = ("train", "onnx", "openvino", "xgboost")
# The simulator does not run in an image, and what is not there has no vulnerabilities.
_OF_THE_SIMULATOR = ("optuna", "python-jsonpath")


def image_constraints(constraints: str, torch_index_url: str) -> list[str]:
    """Return the lines of constraints.txt that hold in an image.

    Torch comes from the index `torch_index_url`, or from the plain index if that is empty.
    """
    pins = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    if not torch_index_url:
        return pins
    build = torch_index_url.rstrip("/").rpartition("/")[2]
    image_pins = []
    for pin in pins:
        name, version = re.split("===?", pin)
        if name in _TORCH_PACKAGES:
            image_pins.append(f"{name}=={version}+{build}")
        elif name in _OTHER_PACKAGES or not _CUDA_PACKAGES.match(name):
            image_pins.append(pin)
    return image_pins


def main(pyproject: str, constraints: str, output: str, torch_index_url: str = "") -> None:
    """Write both files into the directory `output`."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    directory = Path(output)
    directory.mkdir(parents=True, exist_ok=True)
    pins = image_constraints(Path(constraints).read_text(encoding="utf-8"), torch_index_url)
    extras = [line for extra in _EXTRAS for line in project["optional-dependencies"][extra]]
    light = [line for line in project["dependencies"] if re.split("[><=]", line)[0] not in _OF_THE_SIMULATOR]
    # The package itself is built in the images without an index, so setuptools must be there.
    requirements = [*light, *extras, "setuptools"]
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    (directory / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
