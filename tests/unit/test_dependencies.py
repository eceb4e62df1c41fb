"""The package declares what it imports itself, and does not rely on the dependencies of its dependencies."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import multimodal_algo

PACKAGE = Path(multimodal_algo.__file__).parent
PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))

# Others are for tests, tools and notebooks.
EXTRAS = ("train", "onnx", "openvino", "heic")


def imported_modules() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""


def distribution_of(module: str, known: Mapping[str, list[str]]) -> str:
    # AutoGluon's packages share a namespace, and each is named after its part of it. The package of an extra may be
    # absent here.
    top, *rest = module.split(".")
    return f"autogluon.{rest[0]}" if top == "autogluon" else known.get(top, [top])[0]


def test_each_imported_package_is_declared() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    modules = {module for module in imported_modules() if module.split(".")[0] not in sys.stdlib_module_names}
    known = packages_distributions()
    distributions = {distribution_of(module, known) for module in modules if not module.startswith("multimodal_algo")}
    assert {canonicalize_name(name) for name in distributions} <= declared


def test_type_checkers_see_the_annotations() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert "py.typed" in PYPROJECT["tool"]["setuptools"]["package-data"]["multimodal_algo"]
