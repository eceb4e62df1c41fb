"""ONNX Runtime gives the answers of torch. Torch answers where ONNX Runtime cannot."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.artifact import IMAGE_BACKBONE, TEXT_BACKBONE
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.schema import Modality
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.serving.loaded_model import LoadedModel


def rows_of(sample: Path) -> list[list[str]]:
    with (sample / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_the_graphs_of_an_artifact_give_the_answers_of_torch(artifact: Path, sample: Path) -> None:
    rows = rows_of(sample)
    assert (artifact / IMAGE_BACKBONE / GRAPH).is_file()
    assert (artifact / TEXT_BACKBONE / "0" / GRAPH).is_file()
    by_torch = LoadedModel.load(artifact, Engine.TORCH).predict(rows)
    np.testing.assert_allclose(LoadedModel.load(artifact, Engine.ONNX).predict(rows), by_torch, atol=1e-3)


def test_answers_do_not_depend_on_the_other_rows_of_a_batch(artifact: Path, sample: Path) -> None:
    rows = rows_of(sample)
    for engine in (Engine.TORCH, Engine.ONNX):
        model = LoadedModel.load(artifact, engine)
        alone = np.concatenate([model.predict([row]) for row in rows])
        np.testing.assert_allclose(model.predict(rows), alone, atol=1e-4)


def test_graphs_are_served_without_torch_and_its_libraries(artifact: Path, sample: Path) -> None:
    code = f"""
import csv, sys
from pathlib import Path
from multimodal_algo.serving.loaded_model import LoadedModel
rows = list(csv.reader(open({str(sample / "test_noheader.csv")!r}, encoding="utf-8", newline="")))
LoadedModel.load(Path({str(artifact)!r})).predict(rows)
heavy = {{"torch", "torchvision", "timm", "transformers", "sentence_transformers"}} & set(sys.modules)
sys.exit(", ".join(heavy) or None)
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_an_artifact_has_two_bytes_a_weight(artifact: Path) -> None:
    for folder in (IMAGE_BACKBONE, TEXT_BACKBONE):
        (file,) = (artifact / folder).rglob("*.safetensors")
        weights = sum(np.prod(entry["shape"]) for name, entry in header_of(file).items() if name != "__metadata__")
        assert sum(path.stat().st_size for path in (artifact / folder).rglob("*")) < 2.1 * weights + 1_500_000


def header_of(file: Path) -> dict:
    content = file.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


@pytest.mark.parametrize(
    ("engine", "graph", "message"),
    [
        (Engine.ONNX, None, "the artifact has no ONNX graph"),
        (Engine.ONNX, b"no graph", "onnxruntime cannot load the graph"),
        (Engine.ONNX, "another network's", "differ from those of the training"),
        (Engine.TENSORRT, "its own", "the installed onnxruntime has no TensorrtExecutionProvider"),
    ],
)
def test_torch_replaces_an_engine_that_is_missing_or_disagrees_and_a_warning_is_logged(
    artifact: Path,
    sample: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    engine: Engine,
    graph: object,
    message: str,
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(artifact, directory)
    path = directory / TEXT_BACKBONE / "0" / GRAPH
    if graph is None:
        path.unlink()
    elif isinstance(graph, bytes):
        path.write_bytes(graph)
    elif graph == "another network's":
        negated(path)
    # Without the list of files the damage is not noticed when the artifact is checked, only when the graph is used.
    config = directory / "model_config.json"
    config.write_text(without_files(config.read_text()))
    with caplog.at_level(logging.WARNING):
        model = LoadedModel.load(directory, engine)
    assert sum(message in record.message for record in caplog.records) >= 1
    expected = LoadedModel.load(artifact, Engine.TORCH)
    texts = ["a lamp", "a rather long mug"]
    of_text = Modality.TEXT
    np.testing.assert_allclose(model.encoders[of_text](texts), expected.encoders[of_text](texts), atol=1e-6)


def negated(path: Path) -> None:
    """Change the graph in `path` so that it returns the negative of its vectors."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    (output,) = graph.graph.output
    name = output.name
    for node in graph.graph.node:
        node.output[:] = ["inner" if given == name else given for given in node.output]
    graph.graph.node.append(onnx.helper.make_node("Neg", ["inner"], [name]))
    onnx.save(graph, path)


def without_files(config: str) -> str:
    return json.dumps(json.loads(config) | {"files": {}})
