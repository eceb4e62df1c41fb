"""The state of a fine-tuning fit that runs: kept as it goes, and gone on from by a later start of the same job.

Importing it imports Lightning and torch.
"""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from multimodal_algo.core.checkpointing import CheckpointStore, Stopped, StopRequest

_LOG = logging.getLogger(__name__)

# A state is kept when so many times the seconds that keeping the last one took have passed: 5 % of the time.
_KEEPING_PAUSE = 20
_LAST = "last.ckpt"
_ROWS = "rows.npy"


class Running:
    """The kept states of one fit: the parts ``<part>.running/1``, ``<part>.running/2``, ... of which the last counts.

    Parameters
    ----------
    keeper
        Where they are kept.
    stop
        Whether to keep the state and end with `Stopped`.
    model
        Name of the modality model, for the log.
    part
        Number of the fit, for the log and the parts' names.
    """

    def __init__(self, checkpoints: CheckpointStore, stop: StopRequest | None, *, model: str, part: int) -> None:
        self.stop = stop
        self.model = model
        self.part = part
        self._checkpoints = checkpoints
        self._name = f"{part}.running"
        self._number = max(self._numbers(), default=0)
        self._not_before = 0.0
        self._latest = self._find()

    @property
    def rows(self) -> np.ndarray | None:
        """The rows that the kept state was fitted to, int (n,); None without a kept state."""
        return None if self._latest is None else np.load(self._latest / _ROWS)

    @property
    def is_due(self) -> bool:
        """Whether keeping a state now leaves enough time for fitting."""
        return time.monotonic() >= self._not_before

    def watch(self, learner: Any, rows: np.ndarray, *, seed: int) -> None:
        """Make AutoMM's `learner`, which is not yet fitted, keep its state and go on from the one that was kept.

        Raises
        ------
        Stopped
            Out of the fit, when `stop` was asked.
        """
        if self._latest is not None:
            save_path = Path(learner._save_path)
            save_path.mkdir(parents=True, exist_ok=True)
            for checkpoint in self._latest.glob("*.ckpt"):
                shutil.copyfile(checkpoint, save_path / checkpoint.name)
            learner._resume = True
            learner._ckpt_path = str(save_path / _LAST)
        run_trainer = learner.run_trainer

        def watched(trainer: Any, litmodule: Any, *args: Any, **kwargs: Any) -> None:
            del learner.run_trainer  # what the learner predicts afterwards is not watched
            trainer.callbacks.append(_Keeping(self, rows, seed))
            # Of an adapted network AutoMM's checkpoints hold only what is trained.
            litmodule.strict_loading = not getattr(litmodule, "trainable_param_names", None)
            _let_load(trainer.strategy.checkpoint_io)
            with self.stop.listening() if self.stop else nullcontext():
                run_trainer(trainer, litmodule, *args, **kwargs)

        learner.run_trainer = watched

    def keep(self, trainer: Any, rows: np.ndarray) -> None:
        """Keep the trainer's state and the best checkpoints so far, in place of what was kept before."""

        def write(directory: Path) -> None:
            trainer.save_checkpoint(directory / _LAST)
            for best in trainer.checkpoint_callback.best_k_models:
                # Of these only the weights are ever read.
                weights = torch.load(best, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
                torch.save({"state_dict": weights}, directory / Path(best).name)
            np.save(directory / _ROWS, rows)

        started = time.monotonic()
        before = [self._part(number) for number in self._numbers()]
        # An uploader copies file by file: under a name of its own no file is ever taken for another.
        self._number += 1
        self._checkpoints.keep(self._part(self._number), write)
        for name in before:
            self._checkpoints.drop(name)
        told = (self.model, self.part, trainer.current_epoch, trainer.global_step)
        _LOG.info("%s: part %d kept at epoch %d, step %d", *told)
        now = time.monotonic()
        self._not_before = now + _KEEPING_PAUSE * (now - started)

    def drop(self) -> None:
        """Forget all states."""
        self._checkpoints.drop(self._name)

    def _find(self) -> Path | None:
        found = (self._checkpoints.find(self._part(number)) for number in sorted(self._numbers(), reverse=True))
        return next((directory for directory in found if directory is not None), None)

    def _numbers(self) -> list[int]:
        return [int(name) for name in self._checkpoints.names(self._name) if name.isdecimal()]

    def _part(self, number: int) -> str:
        return f"{self._name}/{number}"


class _Keeping(Checkpoint):
    """Lightning calls it after AutoMM's own callback for checkpoints, being one and further back in the list."""

    def __init__(self, running: Running, rows: np.ndarray, seed: int) -> None:
        self._running = running
        self._rows = rows
        self._seed = seed

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Let the best checkpoints so far be where they lie now."""
        callback = trainer.checkpoint_callback
        state = checkpoint["callbacks"][callback.state_key]
        here = Path(callback.dirpath)

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        state["dirpath"] = callback.dirpath
        state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
        for key in ("best_model_path", "kth_best_model_path"):
            state[key] = moved(state[key])
        state["last_model_path"] = str(here / _LAST)
        epoch, step = checkpoint["epoch"], checkpoint["global_step"]
        # Seeded as at the start, the rest of the epoch would bring the rows of its beginning again.
        torch.manual_seed(self._seed + step)
        running = self._running
        _LOG.info("%s: part %d goes on from epoch %d, step %d", running.model, running.part, epoch, step)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """List the best checkpoints where AutoMM looks for them, if no better one comes."""
        if trainer.checkpoint_callback.best_k_models:
            trainer.checkpoint_callback.to_yaml()

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Stop if that was asked."""
        self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the state from time to time, or stop."""
        if trainer.sanity_checking:
            return
        self._stop_if_asked(trainer)
        if self._running.is_due:
            self._running.keep(trainer, self._rows)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop if that was asked."""
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Any) -> None:
        if self._running.stop is not None and self._running.stop.is_asked:
            self._running.keep(trainer, self._rows)
            raise Stopped


def _let_load(checkpoint_io: Any) -> None:
    """Lightning 2.6 tells ``weights_only`` too, which AutoMM 1.6's class does always and takes not as an argument."""
    load = checkpoint_io.load_checkpoint
    checkpoint_io.load_checkpoint = lambda path, weights_only=None: load(path, map_location="cpu")
