"""Distillation: a larger model teaches a smaller one, which learns its predictions in addition to the labels."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import numpy as np

from multimodal_algo.branches.registry import needs_pictures
from multimodal_algo.config.combinations import require_teacher
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
    """The source of learning in addition to the labels: a teacher model, or nothing."""

    @property
    @abstractmethod
    def model(self) -> PreviousModel | None:
        """The teacher model. Its fine-tuned networks teach those of the new model. None if there is no teacher."""

    @abstractmethod
    def soft_labels(self, channels: ChannelPaths, data: TrainingData, context: JobContext) -> np.ndarray | None:
        """Return the class probabilities to learn for each training row, float32 (rows, n).

        Return None to learn the labels.

        Raises
        ------
        UserError
            The teacher has other columns or classes than the training data.
        """


class NoTeacher(Teaching):
    """The normal case: the job learns from the labels alone."""

    @property
    def model(self) -> PreviousModel | None:
        """None, because there is no teacher."""
        return None

    def soft_labels(self, channels: ChannelPaths, data: TrainingData, context: JobContext) -> np.ndarray | None:
        """Return None, because the job learns from the labels alone."""
        return None


class Teacher(Teaching):
    """The larger model from which the job learns. It is the artifact in the input ``model``.

    Parameters
    ----------
    artifact
        A larger model of the same columns and classes.
    """

    def __init__(self, artifact: PreviousModel) -> None:
        self.artifact = artifact

    @classmethod
    def open(cls, channels: ChannelPaths, context: JobContext) -> Teacher:
        """Open the teacher, which is the artifact in the input ``model``.

        Raises
        ------
        UserError
            The job does not have a model channel, or the training data comes through a pipe, which can be read only
            once.
        """
        require_teacher(has_model=channels.model is not None, is_piped=channels.train.is_fifo())
        assert channels.model is not None
        return cls(PreviousModel.open(channels.model, context.scratch / "previous"))

    @property
    def model(self) -> PreviousModel | None:
        """The teacher model. Its fine-tuned networks teach those of the new model."""
        return self.artifact

    def check(self, schema: FeatureSchema, target: Target) -> None:
        """Raise an error if the training data has other columns or classes than the teacher, or numbers as labels.

        Raises
        ------
        UserError
            The data does not suit the teacher. The message says how.
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
        """Return the mean of the label and the teacher's prediction for each row, see `Teaching.soft_labels`.

        The teacher has its own networks for texts and images, so the job reads the rows a second time.
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
        """Return the teacher's predictions for the training rows. They are made once and kept in the checkpoints."""
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
