"""The saved state of a running fine-tuning fit, from which a later start of the same job continues.

Importing this module imports Lightning and torch.
"""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from multimodal_algo.core.checkpointing import CheckpointStore, Stopped, StopRequest
from multimodal_algo.predictors.finetune._automm_compat import (
    Training,
    best_checkpoints,
    list_best_checkpoints,
    move_best_checkpoints,
    replace_training,
    resume_from,
)

_LOG = logging.getLogger(__name__)

# A state is saved when at least this multiple of the time that the last save took has passed. So saving takes 5 % of
# the time.
_PAUSE_PER_SAVE = 20
_LAST = "last.ckpt"
_ROWS = "rows.npy"


class RunningFit:
    """The saved states of one running fit, in the store of checkpoints.

    They are named ``<part>.running/1``, ``<part>.running/2`` and so on, and only the last one is used.

    Parameters
    ----------
    checkpoints
        Store in which the states are saved.
    stop
        Request to save the state and to end with `Stopped`.
    branch
        Name of the branch, for the log.
    part
        Number of the part (one network of three), for the log and the names of the states.
    """

    def __init__(self, checkpoints: CheckpointStore, stop: StopRequest | None, *, branch: str, part: int) -> None:
        self.stop = stop
        self.branch = branch
        self.part = part
        self._checkpoints = checkpoints
        self._name = running_name(part)
        self._number = max(self._numbers(), default=0)
        self._not_before = 0.0
        self._latest = self._find()

    @property
    def rows(self) -> np.ndarray | None:
        """The positions of the rows that the saved state was fitted to, int (n,). None if there is no saved state."""
        return None if self._latest is None else np.load(self._latest / _ROWS)

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last save, so that saving takes only a small share of the fit."""
        return time.monotonic() >= self._not_before

    def watch(self, learner: Any, rows: np.ndarray, *, seed: int) -> None:
        """Let AutoMM's `learner`, which is not fitted yet, save its state at times, and continue from a saved state.

        Raises
        ------
        Stopped
            Raised later by the fit itself, when a stop was requested.
        """
        if self._latest is not None:
            resume_from(learner, self._copy_latest)
        replace_training(learner, partial(self._train, rows=rows, seed=seed))

    def _copy_latest(self, directory: Path) -> Path:
        assert self._latest is not None
        for checkpoint in self._latest.glob("*.ckpt"):
            shutil.copyfile(checkpoint, directory / checkpoint.name)
        return directory / _LAST

    def _train(self, training: Training, *, rows: np.ndarray, seed: int) -> None:
        training.add_callback(_StateSaver(self, rows, seed))
        training.accept_own_checkpoints()
        with self.stop.listening() if self.stop else nullcontext():
            training.run()

    def save(self, trainer: Any, rows: np.ndarray) -> None:
        """Save the trainer's state and the best checkpoints so far, and delete the previous saved states."""

        def write(directory: Path) -> None:
            trainer.save_checkpoint(directory / _LAST)
            for best in best_checkpoints(trainer):
                # AutoMM reads only their weights.
                weights = torch.load(best, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
                torch.save({"state_dict": weights}, directory / Path(best).name)
            np.save(directory / _ROWS, rows)

        started = time.monotonic()
        before = [self._part(number) for number in self._numbers()]
        # The platform uploads file by file. Under a name of its own, no file is ever mistaken for another one.
        self._number += 1
        self._checkpoints.save(self._part(self._number), write)
        for name in before:
            self._checkpoints.drop(name)
        _LOG.info(
            "%s: part %d saved at epoch %d, step %d",
            self.branch, self.part, trainer.current_epoch, trainer.global_step,
        )  # fmt: skip
        now = time.monotonic()
        self._not_before = now + _PAUSE_PER_SAVE * (now - started)

    def _find(self) -> Path | None:
        states = (self._checkpoints.find(self._part(number)) for number in sorted(self._numbers(), reverse=True))
        return next((directory for directory in states if directory is not None), None)

    def _numbers(self) -> list[int]:
        return [int(name) for name in self._checkpoints.names(self._name) if name.isdecimal()]

    def _part(self, number: int) -> str:
        return f"{self._name}/{number}"


def running_name(part: int) -> str:
    """Return the first part of the names under which the states of a running fit are saved."""
    return f"{part}.running"


class _StateSaver(Checkpoint):
    """A Lightning callback that saves the state of a fit, and stops the fit on request.

    It derives from Lightning's class for checkpoints and is later in the list than AutoMM's callback of this kind. So
    Lightning calls it after AutoMM's.
    """

    def __init__(self, running: RunningFit, rows: np.ndarray, seed: int) -> None:
        self._running = running
        self._rows = rows
        self._seed = seed

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Let the trainer find the best checkpoints in their present directory. Then set a new random seed.

        With the old seed, the rest of the epoch would bring the rows of its beginning again.
        """
        move_best_checkpoints(trainer, checkpoint, _LAST)
        epoch, step = checkpoint["epoch"], checkpoint["global_step"]
        # With the seed of the start, the rest of the epoch would bring the rows of its beginning again.
        torch.manual_seed(self._seed + step)
        running = self._running
        _LOG.info("%s: part %d goes on from epoch %d, step %d", running.branch, running.part, epoch, step)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the list of best checkpoints for AutoMM, in case no better one follows."""
        list_best_checkpoints(trainer)

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Save the state and end the fit, if a stop was requested."""
        self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the state if enough time has passed. End the fit if a stop was requested."""
        if trainer.sanity_checking:
            return
        self._stop_if_asked(trainer)
        if self._running.is_due:
            self._running.save(trainer, self._rows)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the state and end the fit, if a stop was requested."""
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Any) -> None:
        if self._running.stop is not None and self._running.stop.is_asked:
            self._running.save(trainer, self._rows)
            raise Stopped
