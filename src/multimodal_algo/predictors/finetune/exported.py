"""Fine-tuned networks that were exported as ONNX graphs and run without torch and AutoMM."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.core.task import Task
from multimodal_algo.networks.engines import Graph, run_batches
from multimodal_algo.networks.graphs import Probe, torch_has_gpu
from multimodal_algo.networks.stored import GRAPH, NetworkDescription
from multimodal_algo.networks.texts.blocks import batches_by_length
from multimodal_algo.predictors.finetune.inputs import Arrays, NetworkInput, PictureInput, Reader
from multimodal_algo.predictors.finetune.prediction import Outputs

# The activations of larger batches fit neither a CPU's caches nor the memory that the allocator holds.
_TEXTS, _CHARACTERS, _IMAGES = 32, 1000, 4
_PROBE_SIDE = 64


class Export(BaseModel):
    """The description of an exported predictor: what its networks read, and how its outputs become predictions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[NetworkInput, ...]
    outputs: Outputs

    @property
    def columns(self) -> list[str]:
        """Names of the columns that the networks read."""
        return list(dict.fromkeys(column for each in self.inputs for column in each.columns))

    @property
    def has_images(self) -> bool:
        """Whether one of the networks reads images."""
        return any(isinstance(each, PictureInput) for each in self.inputs)

    def probe(self) -> pd.DataFrame:
        """Return three made-up rows on which engines are compared.

        They are always the same, and the last one has empty cells.
        """
        return pd.DataFrame(
            {column: pd.Series(_PROBES[modality_of(column)](), dtype=object) for column in self.columns}
        )

    def arrays(self, directory: Path, table: pd.DataFrame) -> Arrays:
        """Return the arrays that the graph takes for the rows of a table.

        `directory` holds the predictor's tokenisers.
        """
        return _read([each.reader(directory) for each in self.inputs], table)


def _read(readers: list[Reader], table: pd.DataFrame) -> Arrays:
    return {name: value for reader in readers for name, value in reader(table).items()}


def _images() -> list[bytes | None]:
    pixels = np.random.default_rng(0).integers(0, 256, (2, _PROBE_SIDE, 2 * _PROBE_SIDE, 3), dtype=np.uint8)
    return [*map(_png, pixels), None]


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


_PROBES: Mapping[Modality | None, Callable[[], list[Any]]] = {
    Modality.TEXT: lambda: [
        "a probe",
        "a second and rather longer probe, so that the first is padded to its length",
        "",
    ],
    Modality.IMAGE: _images,
    Modality.NUM: lambda: [0.0, 1.5, np.nan],
    Modality.CAT: lambda: ["a probe", "a second one", None],
}


class ExportedNetwork:
    """An exported fine-tuned network with the engine that runs it, for example ONNX Runtime.

    Parameters
    ----------
    export
        Description of the exported predictor.
    directory
        Directory of the predictor.
    graph
        The ONNX graph, loaded by the engine.
    """

    def __init__(self, export: Export, directory: Path, graph: Graph) -> None:
        self.directory = directory
        self.engine = graph.name
        self._export = export
        self._graph = graph
        self._readers = [each.reader(directory) for each in export.inputs]

    @classmethod
    def load(cls, directory: Path, engine: Engine) -> ExportedNetwork:
        """Load a graph that `export_predictor` wrote into `directory`. `engine` is the library that should run it.

        Raises
        ------
        Unavailable
            See `Probe.load_graph`.
        UserError
            See `NetworkDescription.read`.
        """
        stored = NetworkDescription.read(directory)
        export = Export.model_validate(stored.settings)
        probe = Probe(export.arrays(directory, export.probe()), stored.vectors)
        # In float32 OpenVINO is faster for images alone, and takes more memory.
        by_onnx = engine is Engine.AUTO and not export.has_images and importlib.util.find_spec("onnxruntime")
        wanted = Engine.ONNX if by_onnx else engine
        graph = probe.load_graph(directory / GRAPH, wanted, allows_bf16=False, has_gpu=torch_has_gpu())
        return cls(export, directory, graph)

    def predict(self, table: pd.DataFrame, task: Task) -> np.ndarray:
        """Return the class probabilities of each row, or predicted numbers, float32 (rows, n)."""
        predictions = np.zeros((len(table), task.outputs), dtype=np.float32)
        batches = list(self._batches(table))
        results = run_batches(
            lambda rows: self._graph(_read(self._readers, table.iloc[rows])), batches, by_core=self._graph.is_on_cpu
        )
        for rows, logits in zip(batches, results, strict=True):
            predictions[rows] = self._export.outputs.predictions(logits, task)
        return predictions

    def _batches(self, table: pd.DataFrame) -> Iterator[list[int]]:
        """Yield the row positions of each batch.

        Texts of similar length share a batch, because they need little padding.
        """
        lengths = np.zeros(len(table), dtype=np.int64)
        for column in self._export.columns:
            if modality_of(column) is Modality.TEXT:
                lengths += table[column].fillna("").str.len().to_numpy(dtype=np.int64)
        yield from batches_by_length(lengths.tolist(), _IMAGES if self._export.has_images else _TEXTS, _CHARACTERS)
