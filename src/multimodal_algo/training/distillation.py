"""Distillation: a larger model teaches a smaller one, which learns from its predictions next to the labels."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import numpy as np

from multimodal_algo.branches.registry import needs_pictures
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.values import label_keys
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.context import JobContext
from multimodal_algo.training.continuing.export import write_networks
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.data import TrainingData
from multimodal_algo.training.rows import ChannelPaths, RowReader

_LOG = logging.getLogger(__name__)

_PART = "teacher"
_PREDICTIONS = "predictions.npy"
# The teacher's share of what is learnt. The labels have the rest.
# Hinton et al., 2015, "Distilling the Knowledge in a Neural Network".
_SHARE = 0.5


class Teaching(ABC):
    """The teaching of a job: what its branches and its fusion learn from, next to the labels."""

    @property
    @abstractmethod
    def model(self) -> PreviousModel | None:
        """The teacher, whose fine-tuned networks teach those of the same branches. None without a teacher."""

    @abstractmethod
    def soft_labels(self, channels: ChannelPaths, data: TrainingData, context: JobContext) -> np.ndarray | None:
        """Return the shares of the classes that each training row is learnt with, float32 (rows, n).

        None stands for the labels alone.

        Raises
        ------
        UserError
            The teacher has other columns or classes than the training data.
        """


class NoTeacher(Teaching):
    """A job that learns from the labels alone."""

    @property
    def model(self) -> PreviousModel | None:
        """See `Teaching.model`."""
        return None

    def soft_labels(self, channels: ChannelPaths, data: TrainingData, context: JobContext) -> np.ndarray | None:
        """See `Teaching.soft_labels`."""
        return None


class Teacher(Teaching):
    """The artifact of the model channel as a teacher.

    Parameters
    ----------
    artifact
        A larger model of the same columns and classes.
    """

    def __init__(self, artifact: PreviousModel) -> None:
        self.artifact = artifact

    @classmethod
    def open(cls, channels: ChannelPaths, context: JobContext) -> Teacher:
        """Open the artifact of the model channel.

        Raises
        ------
        UserError
            The job does not have a model channel, or the training data comes through a pipe, which can be read only
            once.
        """
        if channels.model is None:
            raise UserError("distill_from is model, but the job has no model channel. Give the teacher's model.tar.gz.")
        if channels.train.is_fifo():
            raise UserError(
                "distill_from reads the training data twice, which Pipe mode does not allow. Use File mode."
            )
        return cls(PreviousModel.open(channels.model, context.scratch / "previous"))

    @property
    def model(self) -> PreviousModel | None:
        """See `Teaching.model`."""
        return self.artifact

    def check(self, schema: FeatureSchema, target: Target) -> None:
        """Refuse other columns, other classes, and numbers as labels.

        Raises
        ------
        UserError
            With the difference.
        """
        self.artifact.check(schema)
        classes = self.artifact.config.classes
        # The names of the classes may be spelled in other ways.
        if target.task.is_regression or [*label_keys(target.classes).values()] != [*label_keys(classes).values()]:
            raise UserError(
                "distill_from needs a teacher with the classes of the training data: "
                f"the teacher has {len(classes)}, the data {len(target.classes)}."
            )

    def soft_labels(self, channels: ChannelPaths, data: TrainingData, context: JobContext) -> np.ndarray | None:
        """See `Teaching.soft_labels`. One half is the label, the other half the teacher's prediction.

        The teacher has networks of its own, so the job reads the rows once more.
        """
        target = data.target
        self.check(data.dataset.schema, target)
        with context.times.stage("teacher"):
            predictions = self._kept_predictions(channels, context)
        accuracy = float((predictions.argmax(axis=1) == target.values).mean())
        _LOG.info("teacher: quality %s, right in %.1f %% of the rows", self.artifact.config.recipe, 100 * accuracy)
        labels = np.eye(target.task.outputs, dtype=np.float32)[target.values]
        return (1 - _SHARE) * labels + np.float32(_SHARE) * predictions

    def _kept_predictions(self, channels: ChannelPaths, context: JobContext) -> np.ndarray:
        """Return the teacher's predictions, from the checkpoints if they are there."""
        part = context.checkpoints.find(_PART)
        if part is None:
            predictions = self._predictions(channels, context)
            part = context.checkpoints.save(_PART, lambda directory: np.save(directory / _PREDICTIONS, predictions))
        return np.asarray(np.load(part / _PREDICTIONS))

    def _predictions(self, channels: ChannelPaths, context: JobContext) -> np.ndarray:
        artifact, scratch = self.artifact, context.scratch / "teacher"
        frozen = write_networks(artifact.directory, artifact.config, scratch / "networks", fine_tuned=False)
        reader = RowReader(
            context,
            Backbones(context.hyperparameters, context.weights_dir, scratch / "backbones", frozen=frozen),
            images=channels.images,
            keep_images=needs_pictures(entry.branch for entry in artifact.config.branches),
            scratch=scratch / "rows",
        )
        dataset = reader.read_once("train", channels.train, None, context.hyperparameters.problem_type)
        dataset = dataset.with_number_categories(frozenset(artifact.config.number_categories))
        return artifact.fusion.predict(artifact.votes(dataset.features))
