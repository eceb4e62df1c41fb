"""The three parts of a fine-tuned predictor: networks that are each fitted without a third of the folds.

Each part is one work item, so that different hosts can fit different parts.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.core.files import move_files
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Executor, SentDirectory, Shared, WorkItem
from multimodal_algo.execution.ranks import Rank
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.finetune.files import read_predictor, write_predictor
from multimodal_algo.predictors.finetune.fit import PartFit
from multimodal_algo.predictors.finetune.prediction import predictions_of

_LOG = logging.getLogger(__name__)

PARTS = 3
"""Number of networks that a fine-tuned predictor fits, each of them without a third of the folds."""
STATE = "state.json"
"""File that says how many networks a saved predictor has."""
# AutoGluon does not count imports, preparation and the last validation in its limit.
_COUNTED_SHARE = 0.75


@dataclass(frozen=True)
class PartRows:
    """The training rows of a branch (partial model), shared by all parts.

    Parameters
    ----------
    inputs, targets, folds
        See `BranchPredictor.fit`.
    """

    inputs: pd.DataFrame
    targets: np.ndarray
    folds: np.ndarray

    def held_out(self, part: int) -> np.ndarray:
        """Return which rows a part is fitted without, bool (rows,). They are one third of the folds."""
        return np.asarray(self.folds % PARTS == part)


@dataclass(frozen=True)
class FittedPart:
    """A part (one network of three) that is fitted.

    Parameters
    ----------
    part
        Number of the part.
    directory
        Directory of the part's ``MultiModalPredictor``.
    out_of_fold
        Predictions for the rows that the part was fitted without, float32 (rows, n).
    """

    part: int
    directory: Path
    out_of_fold: np.ndarray


def fit_parts(rows: PartRows, settings: FitSettings) -> Iterator[FittedPart]:
    """Yield all parts as soon as they are fitted. Parts that a previous start has finished come from the checkpoints.

    Each finished part is saved in the checkpoints. A part in which nothing could be learned is left out.
    """
    executor = settings.parallelism.executor if settings.parallelism else LocalExecutor()
    store = settings.checkpoints
    saved = [None if store is None else store.find(str(part)) for part in range(PARTS)]
    finished = 0

    def items() -> Iterator[WorkItem]:
        shared = executor.share(rows)
        for part, directory in enumerate(saved):
            # An executor of one process takes this part when the previous ones are finished. The others take all
            # parts at once.
            limit_s = settings.budget.share(1, PARTS - finished).remaining_s * _COUNTED_SHARE
            yield _item(settings, executor, shared, part, limit_s, directory)

    for result in executor.run(items(), settings.scratch / "parts"):
        finished += 1
        part, directory = result.number, saved[result.number] or result.directory
        if store is not None and result.value is not None:
            from multimodal_algo.predictors.finetune.resume import running_name

            if saved[part] is None:
                directory = store.save(str(part), partial(move_files, result.directory))
            store.drop(running_name(part))
        if result.value is not None:
            yield FittedPart(part, directory, result.value)


def _item(
    settings: FitSettings,
    executor: Executor,
    rows: Shared[PartRows],
    part: int,
    limit_s: float,
    saved: Path | None,
) -> WorkItem:
    # Only a fit in this process can save the state of a running part, and listen to the stop.
    here = settings if executor.resources.in_process else replace(settings, checkpoints=None, stop=None)
    sent = None if saved is None else SentDirectory.send(saved, executor)
    work = FitPart(replace(here, parallelism=None), rows, part, limit_s, sent)
    ranks = settings.parallelism.ranks if settings.parallelism and saved is None else 1
    return WorkItem(f"{settings.name}, part {part}", work, wants_gpu=True, ranks=ranks)


@dataclass(frozen=True)
class FitPart:
    """The work item (a part of the job that any host can do) that fits one network of a fine-tuned predictor.

    It leaves the fitted network in the item's directory.

    Parameters
    ----------
    settings
        Settings of the fit.
    rows
        Rows of all parts.
    part
        Number of the part.
    limit_s
        Seconds that the fit may take.
    saved
        Directory of the predictor, if a previous start of the job has fitted it.
    """

    settings: FitSettings
    rows: Shared[PartRows]
    part: int
    limit_s: float
    saved: SentDirectory | None = None

    def __call__(self, directory: Path, rank: Rank | None = None) -> np.ndarray | None:
        """Fit the network, and return its predictions for the rows that it was fitted without, float32 (rows, n).

        Return None if nothing could be learned, or if another process has the predictions.
        """
        rows, name, task = self.rows.get(), self.settings.name, self.settings.task
        inside = rows.held_out(self.part)
        if self.saved is not None:
            _LOG.info("%s: part %d taken from the checkpoint of a previous start", name, self.part)
            return predictions_of(read_predictor(self.saved.path()), rows.inputs[inside], task)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="multimodal-part-") as scratch:
            fit = PartFit(
                replace(self.settings, model_settings=self._local_settings(), scratch=Path(scratch)),
                self.part,
                rows.inputs,
                rows.targets,
                np.flatnonzero(~inside),
                self.limit_s,
                self._teacher(),
            )
            predictor = fit.run(rank)
            if predictor is None:
                return None
            from multimodal_algo.predictors.finetune.exporting import export_predictor, round_predictor

            held_out = rows.inputs[inside]
            round_predictor(predictor, held_out)
            write_predictor(predictor, directory)
            export_predictor(predictor, directory, held_out, f"{name}, part {self.part}")
            predictions = predictions_of(predictor, held_out, task)
        together = f" by {rank.size} processes" if rank else ""
        _LOG.info("%s: part %d fitted%s in %.1f s", name, self.part, together, time.monotonic() - started)
        return predictions

    def _local_settings(self) -> dict[str, object]:
        """Return the model settings, in which each sent directory is replaced by its path on this host."""
        return {
            key: str(value.path()) if isinstance(value, SentDirectory) else value
            for key, value in self.settings.model_settings.items()
        }

    def _teacher(self) -> Path | None:
        """Return the directory of the teacher's network for the same part.

        That network was fitted to the same folds.
        """
        if self.settings.teacher is None:
            return None
        directory = self.settings.teacher.path()
        count = json.loads((directory / STATE).read_text(encoding="utf-8"))["predictors"]
        # Where the teacher lacks a part, the other ones have other numbers.
        return directory / str(self.part) if count == PARTS else None
