"""The artifact of a previous job, as a job uses it that continues from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import (
    CATEGORIES,
    FUSION,
    ROW_KEYS,
    ModelConfig,
    artifact_at,
    read_config,
)
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.categories import KnownCategories
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.features import Features

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel
    from multimodal_algo.core.task import Task
    from multimodal_algo.fusion.fusion import Fusion
    from multimodal_algo.fusion.votes import Votes

_LOG = logging.getLogger(__name__)

PREFIX = "earlier/"
"""The names of adopted branches begin with it. It is public: the names are keys of ``metrics.json``."""
_MANY_GENERATIONS = 3


def find_artifact(location: Path, scratch: Path) -> tuple[Path, ModelConfig]:
    """Return the artifact at `location`: an extracted artifact, an archive, or a directory with an archive.

    Parameters
    ----------
    location
        A file, or the directory of a channel.
    scratch
        Directory for an unpacked archive. It is created if it does not exist.

    Returns
    -------
    directory, config
        The directory of the artifact, and its description. All files were checked against the description.

    Raises
    ------
    UserError
        There is no artifact, or it is incomplete, or another version wrote it.
    """
    folder = artifact_at(location, scratch)
    return folder, read_config(folder)


@dataclass(frozen=True)
class PreviousModel:
    """The artifact of a previous job, with its models and the rows that it was trained on.

    Parameters
    ----------
    directory
        Directory of the artifact.
    config
        Description of the artifact.
    """

    directory: Path
    config: ModelConfig

    @classmethod
    def open(cls, location: Path, scratch: Path) -> PreviousModel:
        """Open the artifact at `location`, see `find_artifact`. Log its quality and its number of classes."""
        previous = cls(*find_artifact(location, scratch))
        config = previous.config
        _LOG.info(
            "model channel: an artifact of quality %s with %s",
            config.recipe,
            "a regression" if config.task.is_regression else f"{len(config.classes)} classes",
        )
        generations = max(entry.name.count(PREFIX) for entry in config.branches) + 1
        if generations > _MANY_GENERATIONS:
            _LOG.warning(
                "model channel: the artifact holds branches of %d jobs, and this job adds its own. "
                "Train from the start on all data now and then",
                generations,
            )
        if previous._keys is None:
            _LOG.warning(
                "model channel: the artifact does not list the rows that it was trained on. "
                "The job takes all rows as new to it"
            )
        return previous

    def check(self, schema: FeatureSchema) -> None:
        """Raise an error if training data with this `schema` has other columns than the previous model.

        Raises
        ------
        UserError
            The columns differ. The message names them.
        """
        known, given = set(self.config.schema_.features), set(schema.features)
        if known == given:
            return
        missing, extra = sorted(known - given), sorted(given - known)
        differences = [f"missing {', '.join(missing[:5])}"] if missing else []
        differences += [f"unexpected {', '.join(extra[:5])}"] if extra else []
        raise UserError(
            f"The training data has other columns than the artifact of the model channel ({'; '.join(differences)}). "
            "Give data with its columns, or give the artifact in the pretrained channel, which takes only its networks."
        )

    @cached_property
    def models(self) -> list[tuple[Branch, BranchModel]]:
        """The previous model's branches (partial models) with their models, in the order of the votes."""
        from multimodal_algo.branches.registry import load_model

        config = self.config
        return [
            (
                Branch(entry.branch),
                load_model(entry.branch, entry.name, entry.columns, config.task, self.directory / entry.name),
            )
            for entry in config.branches
        ]

    def model(self, name: str) -> BranchModel | None:
        """Return the model of the branch (partial model) called `name`. Return None if there is no such branch."""
        return next((model for _, model in self.models if model.name == name), None)

    def adopted(self, task: Task, classes: Sequence[str]) -> list[tuple[Branch, BranchModel]]:
        """Return the previous model's branches (partial models) for the new model. Their new names begin with `PREFIX`.

        Parameters
        ----------
        task
            Problem type and number of outputs of the new model.
        classes
            The classes of the new model. If they differ from the previous ones, the votes are translated.
        """
        from multimodal_algo.branches.translated import TranslatedModel

        if task.is_regression != self.config.task.is_regression:
            return []
        if tuple(classes) == self.config.classes:
            return [(branch, model.renamed(f"{PREFIX}{model.name}")) for branch, model in self.models]
        positions = {label: number for number, label in enumerate(self.config.classes)}
        shared = np.array([positions.get(label, -1) for label in classes], dtype=np.int64)
        return [
            (branch, TranslatedModel(model, f"{PREFIX}{model.name}", task, shared)) for branch, model in self.models
        ]

    @cached_property
    def fusion(self) -> Fusion:
        """The fusion of the previous model."""
        from multimodal_algo.fusion.fusion import Fusion

        return Fusion.load(self.directory / FUSION)

    def votes(self, features: Features) -> Votes:
        """Return the votes of the previous model's branches (partial models) on the rows of `features`."""
        from multimodal_algo.fusion.votes import votes_of

        return votes_of((model for _, model in self.models), features, min_completeness=self.config.min_completeness)

    def is_new(self, keys: np.ndarray) -> np.ndarray:
        """Return which rows the previous model was not trained on, bool (rows,).

        A row is known if one of its keys is known: that of the whole row, of an image, or of a text that shows
        duplicates.

        Parameters
        ----------
        keys
            Keys (hashes) of the rows and their cells, see `row_keys`.
        """
        known = self._keys
        if known is None:
            return np.ones(len(keys), dtype=bool)
        return np.asarray(~np.isin(keys, known).any(axis=1))

    def known_keys(self, keys: np.ndarray) -> np.ndarray:
        """Return the keys (hashes) of the previous model's training rows together with `keys`, uint32, sorted."""
        return keys if self._keys is None else np.union1d(keys, self._keys)

    def known_categories(self, dataset: Dataset) -> KnownCategories:
        """Return the category values in the previous model's training rows and in the rows of `dataset`."""
        path, new = self.directory / CATEGORIES, KnownCategories.of(dataset)
        return KnownCategories.load(path, self.config.schema_).merged(new) if path.is_file() else new

    @cached_property
    def _keys(self) -> np.ndarray | None:
        path = self.directory / ROW_KEYS
        return np.load(path) if path.is_file() else None
