"""What a stopped job leaves so that the next one goes on: each finished modality with its out-of-fold vectors.

::

    state.json       what the job was given: data, hyperparameters, versions
    <modality>/      the model as in the artifact, and vectors.npy

Each part is written aside and renamed: a job killed at any instant leaves only whole parts. The platform's uploader
puts marker files beside them, so only known names are read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.artifact import current_versions
from multimodal_algo.errors import UserError
from multimodal_algo.hyperparameters import HyperParameters
from multimodal_algo.ingest.dataset import Dataset

if TYPE_CHECKING:
    from multimodal_algo.modalities.base import ModalityModel

_LOG = logging.getLogger(__name__)

_STATE = "state.json"
_VECTORS = "vectors.npy"
_INCOMPLETE = ".incomplete"


class Checkpoints:
    """Keeps finished modalities in a directory and gives back those of an earlier start of the same job.

    Parameters
    ----------
    directory
        The platform's checkpoint directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def open(cls, directory: Path, dataset: Dataset, hyperparameters: HyperParameters) -> Checkpoints:
        """Use `directory` for a job with this data and these hyperparameters.

        Raises
        ------
        UserError
            The directory holds the checkpoints of a job that was given something else.
        """
        state = {
            "data": _fingerprint(dataset),
            "hyperparameters": hyperparameters.model_dump(mode="json", exclude={"on_checkpoint_mismatch"}),
            "versions": current_versions(),
        }
        path = directory / _STATE
        differing = _differing(path, state)
        if differing and hyperparameters.on_checkpoint_mismatch == "error":
            raise UserError(
                f"{directory}: these checkpoints are of a job with other {' and '.join(differing)}. "
                "Use an empty checkpoint location, or set on_checkpoint_mismatch=restart."
            )
        if differing:
            _LOG.warning("checkpoints of a job with other %s are dropped", " and ".join(differing))
            for child in directory.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        directory.mkdir(parents=True, exist_ok=True)
        _write_whole(path, json.dumps(state, indent=2) + "\n")
        return cls(directory)

    def restore(self, model: ModalityModel) -> np.ndarray | None:
        """Load `model` as an earlier start left it.

        Returns
        -------
        numpy.ndarray or None
            Its out-of-fold vectors, float32 (rows, n + 1); None where it has to be fitted.
        """
        part = self._directory / model.name
        if not (part / _VECTORS).is_file():
            return None
        vectors = np.load(part / _VECTORS)
        model.load(part)
        _LOG.info("%s: taken from the checkpoint of an earlier start", model.name)
        return np.asarray(vectors, dtype=np.float32)

    def keep(self, model: ModalityModel, vectors: np.ndarray) -> None:
        """Write a fitted model and its out-of-fold vectors."""
        part = self._directory / model.name
        aside = part.with_name(part.name + _INCOMPLETE)
        for directory in (part, aside):
            shutil.rmtree(directory, ignore_errors=True)
        aside.mkdir(parents=True)
        model.save(aside)
        np.save(aside / _VECTORS, vectors)
        os.replace(aside, part)


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([dataset.schema.columns, dataset.labels]).encode())
    table = dataset.features.table
    for column in table.columns:
        values = table[column].to_numpy()
        digest.update(values.tobytes() if values.dtype.kind == "f" else json.dumps(values.tolist()).encode())
    for vectors in dataset.features.vectors.values():
        digest.update(vectors.present.tobytes())
    return digest.hexdigest()


def _differing(path: Path, state: dict[str, Any]) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        found = {}
    return [name for name in state if not isinstance(found, dict) or found.get(name) != state[name]]


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_name(path.name + _INCOMPLETE)
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
