"""The arrows of the architecture point one way, and light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import multimodal_algo

PACKAGE = Path(multimodal_algo.__file__).parent
# What a folder or module may import of ours; everything may import the base.
BASE = {
    "errors",
    "schema",
    "hyperparameters",
    "recipes",
    "budget",
    "task",
    "memory",
    "linear",
    "labels",
    "metrics",
    "log",
    "progress",
    "inference",
    "archive",
    "keeping",
    "work",
    "ranks",
    "__init__",
}
MIDDLE = {"ingest", "modalities", "fusion", "artifact"}
ALLOWED = {
    **dict.fromkeys(BASE, BASE),
    "ingest": BASE,
    "fusion": BASE,
    "artifact": BASE,
    "modalities": BASE | {"ingest"},
    "training": BASE | MIDDLE,
    "cluster": BASE,
    "serving": BASE | MIDDLE | {"sagemaker"},
    "sagemaker": BASE | {"training", "cluster"},
    "local": BASE,
    "aws": BASE | {"local", "sample"},
    "rehearsal": BASE | {"aws", "ingest", "local", "sample"},
    "sample": BASE,
    "prepare": BASE | {"ingest", "artifact"},
    "score": BASE | {"ingest"},
    "validation_report": BASE | {"ingest"},
}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_imports_against_the_arrows(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("cli", "__main__"):
        return
    allowed = ALLOWED[here] | {here}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            parts = name.split(".")
            if parts[0] == "multimodal_algo" and len(parts) > 1:
                assert parts[1] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "module",
    ["cli", "schema", "errors", "hyperparameters", "serving.app", "serving.server", "serving.decoding", "local"],
)
def test_light_modules_import_neither_torch_nor_autogluon(module: str) -> None:
    heavy = "{'torch', 'autogluon', 'transformers', 'pandas'}"
    code = f"import sys, multimodal_algo.{module}; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
