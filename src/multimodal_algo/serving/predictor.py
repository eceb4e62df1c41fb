"""A loaded artifact: from records to answers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multimodal_algo.artifact import FUSION, IMAGE_BACKBONE, TEXT_BACKBONE, ModelConfig, read_config
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.ingest.features import Encoder, Encoders, Features, build_features
from multimodal_algo.ingest.images import SIDE
from multimodal_algo.ingest.rows import RowParser
from multimodal_algo.modalities.backbones import BackboneInfo, ImageBackbone, TextBackbone
from multimodal_algo.modalities.base import ModalityModel
from multimodal_algo.modalities.registry import load_model
from multimodal_algo.recipes import needs_pictures
from multimodal_algo.schema import FeatureSchema, Modality
from multimodal_algo.task import Task

# Rows that are in memory as decoded images and vectors at a time.
_CHUNK_ROWS = 256


@dataclass(frozen=True)
class Predictions:
    """Answers to rows.

    Parameters
    ----------
    answers
        Calibrated probabilities in the order of the class list, or numbers: float32 (rows, n); NaN for a row with a
        problem.
    problems
        Per row the first cell that cannot be read, as ``column …: reason``; None where all can.
    """

    answers: np.ndarray
    problems: list[str | None]


class Predictor:
    """The models of an artifact, in memory.

    Parameters
    ----------
    config
        The artifact's description.
    models
        Its modality models, in the order of `config`.
    fusion
        Its fusion.
    encoders
        Its frozen networks.
    """

    def __init__(self, config: ModelConfig, models: list[ModalityModel], fusion: Fusion, encoders: Encoders) -> None:
        self.config = config
        self.schema: FeatureSchema = config.schema_
        self.classes = config.classes
        self.task: Task = config.task
        self._parser = RowParser(self.schema.inference_columns, ThreadPoolExecutor(thread_name_prefix="decode"))
        self._models = models
        self._fusion = fusion
        self._encoders = encoders

    @classmethod
    def load(cls, directory: Path) -> Predictor:
        """Check the artifact in `directory` and load it.

        Raises
        ------
        UserError
            See `read_config`.
        """
        config = read_config(directory)
        models = [
            load_model(entry.branch, entry.name, entry.columns, config.task, directory / entry.name)
            for entry in config.modalities
        ]
        encoders: dict[Modality, Encoder] = {}
        if config.image_backbone is not None:
            info = BackboneInfo(**config.image_backbone.model_dump())
            encoders[Modality.IMAGE] = ImageBackbone.load(directory / IMAGE_BACKBONE, info).encode
        if config.schema_.of(Modality.TEXT):
            encoders[Modality.TEXT] = TextBackbone(directory / TEXT_BACKBONE).encode
        return cls(config, models, Fusion.load(directory / FUSION), encoders)

    def predict(self, rows: Sequence[Sequence[str]]) -> Predictions:
        """Answer rows of raw cells in the order of ``schema.inference_columns``."""
        answers = np.full((len(rows), self.task.outputs), np.nan, dtype=np.float32)
        problems: list[str | None] = []
        for start in range(0, len(rows), _CHUNK_ROWS):
            features, found = self.features(rows[start : start + _CHUNK_ROWS])
            good = np.array([start + offset for offset, problem in enumerate(found) if problem is None], dtype=np.int64)
            problems += found
            if len(good):
                answers[good] = self.fuse(self.vectors(features))
        return Predictions(answers, problems)

    def features(self, rows: Sequence[Sequence[str]]) -> tuple[Features, list[str | None]]:
        """Parse, decode and encode rows: the features of the readable ones, and each row's problem."""
        problems: list[str | None] = []
        cells: dict[str, list[object]] = {column: [] for column in self.schema.features}
        for pending in [self._parser.start(row) for row in rows]:
            parsed = pending.finish()
            problems.append("column {}: {}".format(*parsed.problems[0]) if parsed.problems else None)
            if not parsed.problems:
                for column, value in parsed.cells.items():
                    cells[column].append(value)
        side = SIDE if needs_pictures([entry.branch for entry in self.config.modalities]) else 0
        return build_features(self.schema, cells, problems.count(None), self._encoders, side), problems

    def vectors(self, features: Features) -> np.ndarray:
        """What each modality says: float32 (rows, modalities, n + 1), in the order of ``config.modalities``."""
        return np.stack(
            [model.predict(features, min_completeness=self.config.min_completeness) for model in self._models], axis=1
        )

    def fuse(self, vectors: np.ndarray) -> np.ndarray:
        """The fused answers, calibrated probabilities or numbers, of `vectors`: float32 (rows, n)."""
        return self._fusion.predict(vectors)

    @property
    def output_fields(self) -> tuple[str, ...]:
        """Names of what `told` gives."""
        return ("label",) if self.task.is_regression else ("label", "probability")

    def told(self, answer: np.ndarray) -> tuple[str, ...]:
        """One answer, float (n,), as fields: the class and its probability, or the number."""
        if self.task.is_regression:
            return (f"{answer[0]:.7g}",)
        winner = int(answer.argmax())
        return self.classes[winner], f"{answer[winner]:.6f}"
