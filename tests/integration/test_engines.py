"""ONNX Runtime answers as torch does, and torch answers where it cannot."""

from __future__ import annotations

import csv
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.artifact import GRAPH, IMAGE_BACKBONE, TEXT_BACKBONE
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.schema import Modality
from multimodal_algo.serving.loaded_model import Predictor


def rows_of(sample: Path) -> list[list[str]]:
    with (sample / "test_noheader.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_an_artifact_has_graphs_that_answer_as_torch_does(artifact: Path, sample: Path) -> None:
    rows = rows_of(sample)
    assert (artifact / IMAGE_BACKBONE / GRAPH).is_file()
    assert (artifact / TEXT_BACKBONE / GRAPH).is_file()
    by_torch = Predictor.load(artifact, Engine.TORCH).predict(rows)
    np.testing.assert_allclose(Predictor.load(artifact, Engine.ONNX).predict(rows), by_torch, atol=1e-3)


def test_answers_do_not_depend_on_what_else_is_in_a_batch(artifact: Path, sample: Path) -> None:
    rows = rows_of(sample)
    for engine in (Engine.TORCH, Engine.ONNX):
        predictor = Predictor.load(artifact, engine)
        alone = np.concatenate([predictor.predict([row]) for row in rows])
        np.testing.assert_allclose(predictor.predict(rows), alone, atol=1e-4)


@pytest.mark.parametrize(
    ("engine", "graph", "told"),
    [
        (Engine.ONNX, None, "the artifact has no ONNX graph"),
        (Engine.ONNX, b"no graph", "onnxruntime cannot load the graph"),
        (Engine.ONNX, "another network's", "differ from torch's"),
        (Engine.TENSORRT, "its own", "the installed onnxruntime has no TensorrtExecutionProvider"),
    ],
)
def test_an_engine_that_is_missing_or_disagrees_is_passed_over_with_a_warning(
    artifact: Path,
    sample: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    engine: Engine,
    graph: object,
    told: str,
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(artifact, directory)
    path = directory / TEXT_BACKBONE / GRAPH
    if graph is None:
        path.unlink()
    elif isinstance(graph, bytes):
        path.write_bytes(graph)
    elif graph == "another network's":
        negated(path)
    # The description guards its files; this is about what it does not see.
    config = directory / "model_config.json"
    config.write_text(without_files(config.read_text()))
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.load(directory, engine)
    assert sum(told in record.message for record in caplog.records) >= 1
    expected = Predictor.load(artifact, Engine.TORCH)
    texts = ["a lamp", "a rather long mug"]
    of_text = Modality.TEXT
    np.testing.assert_allclose(predictor.encoders[of_text](texts), expected.encoders[of_text](texts), atol=1e-6)


def negated(path: Path) -> None:
    """Turn the vectors of a graph around."""
    import onnx

    graph = onnx.load(path)
    (output,) = graph.graph.output
    name = output.name
    for node in graph.graph.node:
        node.output[:] = ["inner" if given == name else given for given in node.output]
    graph.graph.node.append(onnx.helper.make_node("Neg", ["inner"], [name]))
    onnx.save(graph, path)


def without_files(config: str) -> str:
    import json

    return json.dumps(json.loads(config) | {"files": {}})
