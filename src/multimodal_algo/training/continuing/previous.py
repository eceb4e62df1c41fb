"""An earlier artifact, from which a job goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.artifact import CONFIG, FUSION, ROW_KEYS, ModelConfig, read_config
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.archive import unpack
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.ingest.features import Features
from multimodal_algo.training.duplicates import telling_keys

if TYPE_CHECKING:
    from multimodal_algo.branches.base import BranchModel
    from multimodal_algo.core.task import Task
    from multimodal_algo.fusion.fusion import Fusion

_LOG = logging.getLogger(__name__)

NAME = "earlier"
_MANY = 3


def find_artifact(location: Path, scratch: Path) -> tuple[Path, ModelConfig]:
    """The whole artifact at `location`: an archive, an extracted one, or a directory with one archive.

    Parameters
    ----------
    location
        A file, or a channel's directory.
    scratch
        Where an archive is unpacked; a directory that may be missing.

    Returns
    -------
    directory, config
        Of the artifact, every file of which is what its description says.

    Raises
    ------
    UserError
        There is none, or it is not whole, or of another version.
    """
    if (location / CONFIG).is_file():
        return location, read_config(location)
    archive = location
    if location.is_dir():
        found = sorted(p for p in location.rglob("*") if p.name.endswith((".tar.gz", ".tgz")) and p.is_file())
        if len(found) != 1:
            told = "none" if not found else ", ".join(path.name for path in found[:5])
            raise UserError(f"{location.name}: there must be one model.tar.gz, but there is {told}.")
        archive = found[0]
    unpack(archive, scratch)
    config = read_config(scratch)
    files = {path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if path.is_file()}
    if foreign := sorted(files - {*config.files, CONFIG}):
        raise UserError(f"{archive.name} holds '{foreign[0]}', of which its {CONFIG} knows nothing.")
    return scratch, config


@dataclass(frozen=True)
class PreviousModel:
    """An earlier artifact.

    Parameters
    ----------
    directory
        Of the artifact.
    config
        Its description.
    """

    directory: Path
    config: ModelConfig

    @classmethod
    def open(cls, location: Path, scratch: Path) -> PreviousModel:
        """See `find_artifact`."""
        previous = cls(*find_artifact(location, scratch))
        generations = max(entry.name.count(f"{NAME}/") for entry in previous.config.branches) + 1
        _LOG.info(
            "model channel: an artifact of quality %s with %s",
            previous.config.recipe,
            "a regression" if previous.config.task.is_regression else f"{len(previous.config.classes)} classes",
        )
        if generations > _MANY:
            _LOG.warning(
                "model channel: the artifact holds models of %d jobs, and gets those of one more; "
                "train anew on all data now and then",
                generations,
            )
        if previous._keys is None:
            _LOG.warning(
                "model channel: the artifact does not tell which rows it was trained on: none of these, is assumed"
            )
        return previous

    def check(self, schema: FeatureSchema) -> None:
        """Refuse data of other columns.

        Raises
        ------
        UserError
            With the columns that differ.
        """
        previous, now = set(self.config.schema_.features), set(schema.features)
        if previous == now:
            return
        missing, extra = sorted(previous - now), sorted(now - previous)
        told = [f"missing {', '.join(missing[:5])}"] if missing else []
        told += [f"unexpected {', '.join(extra[:5])}"] if extra else []
        raise UserError(
            f"The training data has other columns than the artifact of the model channel ({'; '.join(told)}). Give "
            "data with its columns, or give the artifact in the pretrained channel, which takes its networks alone."
        )

    @cached_property
    def models(self) -> list[tuple[Branch, BranchModel]]:
        """Its models, in its order."""
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
        """Its model of that name, if it has one."""
        return next((model for _, model in self.models if model.name == name), None)

    def adopted(self, task: Task, classes: Sequence[str]) -> list[tuple[Branch, BranchModel]]:
        """Its models as branches of a new one of `task` and `classes`, by new names."""
        from multimodal_algo.branches.translated import TranslatedModel

        if task.is_regression != self.config.task.is_regression:
            return []
        adopted: list[tuple[Branch, BranchModel]] = []
        place = {name: number for number, name in enumerate(self.config.classes)}
        for branch, model in self.models:
            name = f"{NAME}/{model.name}"
            if tuple(classes) == self.config.classes:
                model.name = name
                adopted.append((branch, model))
            else:
                shared = np.array([place.get(label, -1) for label in classes], dtype=np.int64)
                adopted.append((branch, TranslatedModel(model, name, task, shared)))
        return adopted

    @cached_property
    def fusion(self) -> Fusion:
        """Its fusion."""
        from multimodal_algo.fusion.fusion import Fusion

        return Fusion.load(self.directory / FUSION)

    def vectors(self, features: Features) -> np.ndarray:
        """What its models say, float32 (rows, models, n + 1)."""
        from multimodal_algo.branches.base import vectors_of

        return vectors_of((model for _, model in self.models), features, min_completeness=self.config.min_completeness)

    def is_new(self, keys: np.ndarray) -> np.ndarray:
        """Which rows are none that it was trained on, nor share a telling text or image with one: bool (rows,).

        Parameters
        ----------
        keys
            Of each row, see `row_keys`.
        """
        known = self._keys
        if known is None:
            return np.ones(len(keys), dtype=bool)
        return np.asarray(~np.isin(keys, known).any(axis=1))

    def all_keys(self, keys: np.ndarray) -> np.ndarray:
        """The telling keys of all rows that a model which goes on from it was trained on: uint32, sorted."""
        telling = telling_keys(keys)
        return telling if self._keys is None else np.union1d(telling, self._keys)

    @cached_property
    def _keys(self) -> np.ndarray | None:
        path = self.directory / ROW_KEYS
        return np.load(path) if path.is_file() else None
