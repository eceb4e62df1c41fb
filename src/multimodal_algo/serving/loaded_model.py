"""An artifact loaded into memory. It turns raw cells into predictions."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.artifact import (
    CATEGORIES,
    CONFORMAL,
    FUSION,
    IMAGE_BACKBONE,
    SKETCHES,
    TEXT_BACKBONE,
    ModelConfig,
    read_config,
)
from multimodal_algo.config.inference import Engine, Field, InferenceOptions, missing_texts
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.stored import Calibrated, load_calibrated
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.votes import Votes, votes_of
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.cells import CellRules
from multimodal_algo.ingest.features import Encoder, Encoders, Features, build_features, image_input
from multimodal_algo.ingest.rows import PendingRow, RowParser
from multimodal_algo.monitoring.measuring import Meter
from multimodal_algo.monitoring.novelty import Novelty
from multimodal_algo.monitoring.sketches import Sketches
from multimodal_algo.networks.engines import Unavailable, choose_engine
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.serving.guarantees import FIELDS, Guarantees

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel
    from multimodal_algo.networks.backbone import Backbone

_LOG = logging.getLogger(__name__)

# A smaller sum of differences is rounding: no modality moved the answer. For a number it is a share of the number.
_NOTHING, _NOTHING_OF_NUMBER = 1e-9, 1e-15


@dataclass(frozen=True)
class RowAnswer:
    """The prediction for one row.

    Parameters
    ----------
    answer
        Calibrated probabilities in the order of the class list, float32 (n,), or the number, float64 (1,).
    weights
        How much each modality moved the answer, as shares, float (modalities,). None if nobody asked for this.
    guarantees
        The prediction set, or the interval and the quantiles, by field. Empty if answers do not have these fields.
    guess
        Index of the class that the decision rule chooses. None without a rule: the answer is then the likeliest class.
    is_reviewed
        Whether the rule leaves the row to a person.
    novelty
        How unusual the row is: the share of training rows that are less unusual. None if the answer does not have it.
    reasons
        How much each cell moved the answer, by column, see `cell_effects`. Empty if the answer does not have them.
    """

    answer: np.ndarray
    weights: np.ndarray | None = None
    guarantees: Mapping[Field, Any] = field(default_factory=dict)
    guess: int | None = None
    is_reviewed: bool = False
    novelty: float | None = None
    reasons: Mapping[str, float] = field(default_factory=dict)


class LoadedModel:
    """The models of an artifact in memory, ready to predict.

    Parameters
    ----------
    config
        Description of the artifact.
    models
        Models of the artifact's branches, in the order of `config`.
    fusion
        Fusion of the artifact.
    encoders
        The artifact's frozen networks, which turn texts and images into vectors.
    categories
        The category values that training saw. None if the artifact does not list them.
    conformal
        File of the prediction sets or intervals. It is read when a request first asks for them.
    sketches
        Sketches of the training rows. None if the artifact does not have them.
    """

    def __init__(
        self,
        config: ModelConfig,
        models: list[BranchModel],
        fusion: Fusion,
        encoders: Encoders,
        categories: KnownCategories | None = None,
        conformal: Path | None = None,
        sketches: Sketches | None = None,
    ) -> None:
        self.config = config
        self.schema: FeatureSchema = config.schema_
        self.names = config.names
        self.classes = config.classes
        self.task: Task = config.task
        from multimodal_algo.branches.registry import needs_pictures

        # More threads than cores only take them from the networks.
        decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        rules = CellRules(
            names=config.names,
            missing=missing_texts(str(config.hyperparameters.get("missing_values", ""))),
            number_categories=frozenset(config.number_categories),
            image_input=image_input(encoders),
        )
        self._image_bytes = 3 * rules.image_input.side**2
        columns = self.schema.inference_columns
        self._image_positions = [columns.index(column) for column in self.schema.of(Modality.IMAGE)]
        self._parser = RowParser(self.schema.inference_columns, decoders, rules)
        self._models = models
        self._fusion = fusion
        branches = [entry.branch for entry in config.branches]
        self._picture_side = rules.image_input.side if needs_pictures(branches) else 0
        self.encoders = encoders
        self.categories = categories
        self._conformal = conformal
        self.sketches = sketches

    @classmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> LoadedModel:
        """Check the artifact in `directory` and load it.

        `engine` is the library that runs the networks, frozen and fine-tuned ones. Torch runs those that the engine
        cannot run.

        Raises
        ------
        UserError
            See `read_config`, `NetworkDescription.read` and `Backbone.use_torch`.
        """
        config = read_config(directory)
        with ThreadPoolExecutor(1, thread_name_prefix="load-networks") as pool:
            # Engines compile networks without the interpreter's lock, while models and their libraries are read.
            loading = pool.submit(_load_networks, directory, config, engine)
            models = _load_models(directory, config, engine)
        encoders = loading.result()
        path = directory / CATEGORIES
        categories = KnownCategories.load(path, config.schema_) if path.is_file() else None
        sketches = Sketches.load(directory / SKETCHES) if (directory / SKETCHES).is_file() else None
        fusion = Fusion.load(directory / FUSION)
        return cls(config, models, fusion, encoders, categories, directory / CONFORMAL, sketches)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities of which the model has columns."""
        return tuple(modality for modality in Modality if self.schema.of(modality))

    def image_bytes(self, cells: Sequence[Any]) -> int:
        """Return an upper limit of the memory in bytes that the decoded images of one row of raw cells take."""
        if not self._image_positions:
            return 0
        from multimodal_algo.ingest.images import images_in  # other servers do without image libraries

        return sum(images_in(cells[position]) for position in self._image_positions) * self._image_bytes

    def start(self, rows: Sequence[Sequence[Any]]) -> list[PendingRow]:
        """Start to parse rows of raw cells in other threads.

        The cells are in the order of ``schema.inference_columns``.
        """
        return [self._parser.start(row) for row in rows]

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Features:
        """Return the features of parsed rows. Each row maps a column to its cell.

        The frozen networks run in this step.
        """
        cells = {column: [row[column] for row in rows] for column in self.schema.features}
        return build_features(self.schema, cells, len(rows), self.encoders, self._picture_side)

    def answer(
        self, features: Features, *, with_weights: bool = False, guarantees: Guarantees | None = None
    ) -> list[RowAnswer]:
        """Return the prediction for each row.

        With `with_weights`, a prediction also has the share of each modality in it. With `guarantees`, it also has the
        prediction set, or the interval and the quantiles.
        """
        votes = self.votes(features)
        answers = self.fuse(votes)
        weights = self._weights(votes, answers) if with_weights else [None] * len(answers)
        held: Sequence[Mapping[Field, Any]] = (
            [{}] * len(answers) if guarantees is None else guarantees.of(answers, votes)
        )
        return [RowAnswer(*each) for each in zip(answers, weights, held, strict=True)]

    def guarantees(self, options: InferenceOptions) -> Guarantees | None:
        """Return the object that computes sets, intervals and quantiles. None if the options list no such field.

        Raises
        ------
        UserError
            See `calibrated`.
        """
        return Guarantees(self.calibrated, options, self.classes) if FIELDS.intersection(options.fields) else None

    @cached_property
    def calibrated(self) -> Calibrated:
        """The prediction sets or intervals of the artifact.

        Raises
        ------
        UserError
            The artifact does not have them.
        """
        if self._conformal is None or not self._conformal.is_file():
            raise UserError("The artifact has no prediction sets or intervals. Train again.")
        return load_calibrated(self._conformal, self.task)

    @cached_property
    def _novelty(self) -> tuple[Meter, Novelty] | None:
        if self.sketches is None:
            return None
        return Meter.of(self.sketches, self.categories), Novelty.of(self.sketches)

    def novelty(self, features: Features) -> np.ndarray | None:
        """Return the novelty of each row, float64 (rows,), from 0 to 1. Return None if the artifact has no sketches."""
        if self._novelty is None:
            return None
        meter, novelty = self._novelty
        return novelty(meter.bins(features))

    def predict(self, rows: Sequence[Sequence[Any]]) -> np.ndarray:
        """Return the predictions for rows of raw cells, see `fuse`. Every cell must be readable."""
        features, problems = self.features(rows)
        assert not any(problems)
        return self.fuse(self.votes(features))

    def features(self, rows: Sequence[Sequence[Any]]) -> tuple[Features, list[str | None]]:
        """Return the features of all readable rows, and for each row its problem, or None if it is readable."""
        parsed = [pending.finish() for pending in self.start(rows)]
        return self.encode([row.cells for row in parsed if row.problem is None]), [row.problem for row in parsed]

    def votes(self, features: Features) -> Votes:
        """Return the votes of all branches (partial models), in the order of ``config.branches``."""
        return votes_of(self._models, features, min_completeness=self.config.min_completeness)

    def votes_without(self, columns: Sequence[str], features: Features, votes: Votes) -> Votes:
        """Return the votes on rows in which the cells of `columns` are empty.

        `votes` are those on the whole rows. Only branches that read one of the columns predict again.
        """
        emptied, array = features.without(columns), votes.array.copy()
        for number, (model, entry) in enumerate(zip(self._models, self.config.branches, strict=True)):
            if not set(columns).isdisjoint(entry.columns):
                array[:, number] = model.predict(emptied, min_completeness=self.config.min_completeness)
        return Votes(array)

    def timed_votes(self, features: Features) -> tuple[Votes, list[float]]:
        """Return the votes of all branches (partial models), and how many seconds each branch took."""
        times, votes = [time.perf_counter()], []
        for model in self._models:
            votes.append(model.predict(features, min_completeness=self.config.min_completeness))
            times.append(time.perf_counter())
        return Votes.stack(votes), [end - start for start, end in pairwise(times)]

    @property
    def prior(self) -> np.ndarray:
        """The prediction for a row on which no branch (partial model) has a vote, (n,)."""
        return self._fusion.prior

    def fuse(self, votes: Votes) -> np.ndarray:
        """Return the final predictions from votes: probabilities, float32 (rows, n), or numbers, float64 (rows, 1)."""
        return self._fusion.predict(votes)

    def _weights(self, votes: Votes, answers: np.ndarray) -> np.ndarray:
        """Return how much each modality moved the answers, as shares, float64 (rows, modalities).

        Each answer is compared with the answer without the branches (partial models) that read this modality. The
        measure is half the sum of the absolute differences. The shares of a row add up to 1. They are all 0 if no
        modality moved the answer.
        """
        moved = np.zeros((len(votes), len(self.modalities)))
        for number, modality in enumerate(self.modalities):
            columns = set(self.schema.of(modality))
            concerned = [branch for branch, entry in enumerate(self.config.branches) if columns & set(entry.columns)]
            without = votes.silence(slice(None), concerned)
            moved[:, number] = np.abs(self.fuse(without) - answers).sum(axis=1) / 2
        total = moved.sum(axis=1, keepdims=True)
        nothing = _NOTHING_OF_NUMBER * np.abs(answers) if self.task.is_regression else _NOTHING
        return np.divide(moved, total, out=np.zeros_like(moved), where=total > nothing)


def _load_models(directory: Path, config: ModelConfig, engine: Engine) -> list[BranchModel]:
    from multimodal_algo.branches.registry import load_model  # it imports the libraries of the models

    return [
        load_model(entry.branch, entry.name, entry.columns, config.task, directory / entry.name, engine)
        for entry in config.branches
    ]


def _load_networks(directory: Path, config: ModelConfig, engine: Engine) -> Encoders:
    """Return the encoders (frozen networks) of the artifact. All networks are loaded at the same time."""
    loads = {}
    if config.image_backbone is not None:
        loads[Modality.IMAGE] = _load_image_network
    if config.schema_.of(Modality.TEXT):
        loads[Modality.TEXT] = _load_text_networks
    with ThreadPoolExecutor(max(1, len(loads)), thread_name_prefix="load-network") as pool:
        loading = {modality: pool.submit(load, directory, config, engine) for modality, load in loads.items()}
    return {modality: encoder.result() for modality, encoder in loading.items()}


def _load_image_network(directory: Path, config: ModelConfig, engine: Engine) -> Encoder:
    from multimodal_algo.networks.image_backbone import ImageBackbone
    from multimodal_algo.networks.image_info import BackboneInfo

    assert config.image_backbone is not None
    network = ImageBackbone.load(directory / IMAGE_BACKBONE, BackboneInfo(**dict(config.image_backbone)))
    _run_by(engine, network, IMAGE_BACKBONE, directory / IMAGE_BACKBONE / GRAPH)
    return network.encoder


def _load_text_networks(directory: Path, config: ModelConfig, engine: Engine) -> Encoder:
    from multimodal_algo.networks.text_backbone import TextBackbone, joined
    from multimodal_algo.networks.texts.find import find_text_networks

    folders = [Path(folder) for folder in find_text_networks(str(directory / TEXT_BACKBONE))]
    networks = [TextBackbone.load(folder) for folder in folders]
    for folder, network in zip(folders, networks, strict=True):
        _run_by(engine, network, folder.relative_to(directory), folder / GRAPH)
    return joined(networks)


def _run_by(engine: Engine, network: Backbone, name: Path, graph: Path) -> None:
    """Let the engine run the network, or torch if the engine cannot.

    The network is loaded into torch only in that case.
    """
    wanted = choose_engine(engine, has_gpu=network.has_gpu)
    if wanted is Engine.TORCH or (engine is Engine.AUTO and not graph.is_file()):
        network.use_torch()
        return
    try:
        network.use_graph(graph, wanted, has_gpu=network.has_gpu)
        _LOG.info("%s: run by %s", name, network.engine)
    except Unavailable as reason:
        _LOG.warning("%s: run by torch instead of %s, since %s", name, wanted.value, reason)
        network.use_torch()
