"""Imports go down by floors, light folders stay light, and functions and files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import multimodal_algo

PACKAGE = Path(multimodal_algo.__file__).parent
# From the top down. A folder imports only from floors below its own; folders on one floor do not import each other.
FLOORS = (
    {"cli"},
    {"rehearsal", "interface"},
    {"local", "aws"},
    {"tools"},
    {"training", "serving"},
    {"report", "monitoring"},
    {"artifact"},
    {"fusion"},
    {"branches"},
    {"predictors"},
    {"networks"},
    {"ingest"},
    {"sagemaker"},
    {"execution"},
    {"config"},
    {"core"},
)
HEIGHT = {folder: -number for number, floor in enumerate(FLOORS) for folder in floor}
LIGHT_FOLDERS = ("core", "config", "sagemaker", "tools", "aws", "local")
LIGHT_ENTRIES = ("cli", "serving.app", "serving.program", "serving.decoding")
MOST_LINES = 400
MOST_PARAMETERS = 7

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(tree: ast.Module) -> Iterator[list[str]]:
    """The path below our package of each import in the module, at its top or inside a function."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module or ""]
        for name in names:
            package, *parts = name.split(".")
            if package == "multimodal_algo" and parts:
                yield parts


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    for folder, *rest in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
        assert folder == here or HEIGHT[folder] < HEIGHT[here], f"{name_of(path)} imports {'.'.join([folder, *rest])}"


def test_no_import_cycle() -> None:
    modules = {name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name] = {".".join(parts) for parts in imports_of(tree)} & modules.keys()
    while leaves := {name for name, needed in graph.items() if not needed & graph.keys()}:
        graph = {name: needed for name, needed in graph.items() if name not in leaves}
    assert not graph


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name != "cli"], ids=name_of)
def test_functions_take_few_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([each for each in given if each.arg not in ("self", "cls")])
            assert count <= MOST_PARAMETERS, f"{node.name} takes {count}"


def modules_of(folder: str) -> list[str]:
    paths = sorted((PACKAGE / folder).rglob("*.py"))
    return [path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for path in paths]


@pytest.mark.parametrize("entry", [*LIGHT_FOLDERS, *LIGHT_ENTRIES])
def test_what_must_start_fast_imports_neither_torch_nor_autogluon(entry: str) -> None:
    modules = modules_of(entry) if entry in LIGHT_FOLDERS else [entry]
    imports = "; ".join(f"import multimodal_algo.{module.removesuffix('.__init__')}" for module in modules)
    heavy = {"torch", "autogluon", "transformers", "pandas"}
    if entry in LIGHT_ENTRIES:
        heavy.add("numpy")  # a tenth of a second, which /ping at the start of a container does not have
    code = f"import sys; {imports}; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["serving.loaded_model", "branches.registry", "networks.text_backbone"])
def test_a_model_is_served_without_the_libraries_that_it_does_not_need(module: str) -> None:
    heavy = {"torch", "torchvision", "autogluon", "sklearn", "pandas", "pyarrow", "lightgbm", "PIL", "simplejpeg"}
    code = f"import sys; import multimodal_algo.{module}; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
