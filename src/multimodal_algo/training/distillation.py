"""A larger model teaches a smaller one: what it says of the training rows is learnt beside the labels."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import needs_pictures
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.continuing.export import write_networks
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.rows import Channels, RowReader

_LOG = logging.getLogger(__name__)

_PART = "teacher"
_ANSWERS = "answers.npy"
# Of what is learnt; the labels have the rest (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network").
_SHARE = 0.5


class Teacher:
    """The artifact of the model channel, as a teacher.

    Parameters
    ----------
    artifact
        A larger model of the same columns and classes.
    """

    def __init__(self, artifact: PreviousModel) -> None:
        self.artifact = artifact

    @classmethod
    def open(cls, channels: Channels, scratch: Path) -> Teacher:
        """Open the artifact of the model channel.

        Raises
        ------
        UserError
            There is none, or the training data comes through a pipe, which can be read only once.
        """
        if channels.model is None:
            raise UserError("distill_from is model, but the job has no model channel. Give the teacher's model.tar.gz.")
        if channels.train.is_fifo():
            raise UserError(
                "distill_from reads the training data twice, which Pipe mode does not allow. Use File mode."
            )
        return cls(PreviousModel.open(channels.model, scratch / "earlier"))

    def check(self, schema: FeatureSchema, target: Target) -> None:
        """Refuse other columns, other classes, and numbers.

        Raises
        ------
        UserError
            With what differs.
        """
        self.artifact.check(schema)
        if target.task.is_regression or target.classes != self.artifact.config.classes:
            raise UserError(
                "distill_from needs a teacher of the classes that the training data has: "
                f"it has {len(self.artifact.config.classes)}, the data {len(target.classes)}."
            )

    def shares(
        self,
        channels: Channels,
        target: Target,
        hyperparameters: HyperParameters,
        weights_dir: Path,
        checkpoints: Checkpoints,
        scratch: Path,
        executor: Executor,
    ) -> np.ndarray:
        """What is to be learnt: shares of the classes, float32 (rows, n), half the label's and half the teacher's.

        The teacher has networks of its own, so the rows are read once more.
        """
        part = checkpoints.find(_PART)
        if part is None:
            answers = self._answers(channels, hyperparameters, weights_dir, checkpoints, scratch, executor)
            part = checkpoints.keep(_PART, lambda directory: np.save(directory / _ANSWERS, answers))
        answers = np.load(part / _ANSWERS)
        right = float((answers.argmax(axis=1) == target.values).mean())
        _LOG.info("teacher: quality %s, right in %.1f %% of the rows", self.artifact.config.recipe, 100 * right)
        labels = np.eye(target.task.outputs, dtype=np.float32)[target.values]
        return (1 - _SHARE) * labels + np.float32(_SHARE) * answers

    def _answers(
        self,
        channels: Channels,
        hyperparameters: HyperParameters,
        weights_dir: Path,
        checkpoints: Checkpoints,
        scratch: Path,
        executor: Executor,
    ) -> np.ndarray:
        artifact = self.artifact
        frozen = write_networks(artifact.directory, artifact.config, scratch / "networks", tuned=False)
        reader = RowReader(
            hyperparameters,
            Backbones(hyperparameters, weights_dir, scratch / "backbones", frozen=frozen),
            checkpoints,
            channels.images,
            needs_pictures([entry.branch for entry in artifact.config.branches]),
            scratch / "rows",
            scratch / "output",
            executor,
        )
        dataset: Dataset = reader.read_once("train", channels.train, None, hyperparameters.problem_type)
        return artifact.fusion.predict(artifact.vectors(dataset.features))
