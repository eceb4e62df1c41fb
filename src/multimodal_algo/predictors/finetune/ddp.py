"""One fine-tuning fit in several processes, where each process learns from its own share of the rows.

Each process runs AutoMM's learner as one rank of Lightning's distributed training. Importing this module imports
Lightning and torch.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

from multimodal_algo.execution.ranks import Rank
from multimodal_algo.predictors.finetune._automm_compat import (
    Training,
    rank_restored,
    replace_training,
    use_process_group,
)


class NotFirstRank(Exception):
    """Error that ends a fit in all processes but the first one. Only the first process has the fitted predictor."""


class Group:
    """The processes that fit one network together, as a context in which they are connected.

    Each process has a rank (number). If one process leaves early, those that wait for it get an error, at once with the
    connection gloo and after a time with NCCL.

    Parameters
    ----------
    rank
        Rank of this process.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self._stack = ExitStack()

    def __enter__(self) -> Group:
        rank, device = self.rank, self._device
        with ExitStack() as stack:
            stack.enter_context(rank.environment())
            stack.enter_context(rank_restored())
            stack.callback(_end)
            options: dict[str, Any] = {"backend": "gloo"}
            if device.type == "cuda":
                torch.cuda.set_device(device)
                options = {"backend": "nccl", "device_id": device}
            distributed.init_process_group(rank=rank.rank, world_size=rank.size, **options)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the group of processes."""
        self._stack.close()

    def least(self, number: int) -> int:
        """Return the smallest of the numbers with which the processes of the group call this method."""
        least = torch.tensor(number, device=self._device)
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        return int(least)

    def watch(self, learner: Any, *, seed: int) -> None:
        """Let AutoMM's `learner`, which is not fitted yet, learn only from this process's share of the rows.

        Every process passes all rows, and AutoMM's settings for several hosts. The group is left after the training.

        Raises
        ------
        NotFirstRank
            Raised later by the fit itself, in all processes but the first one.
        """
        use_process_group(learner, self._device, is_first=self.rank.is_first)
        replace_training(learner, partial(self._train, seed=seed))

    def _train(self, training: Training, *, seed: int) -> None:
        training.replace_loader(partial(_share, rank=self.rank, seed=seed))
        training.run()
        self.leave()
        if not self.rank.is_first:
            raise NotFirstRank  # AutoMM would end the process
        training.leave_process_group()


def _share(loader: Any, *, rank: Rank, seed: int) -> Any:
    """Return a copy of AutoMM's `loader` that loads only the rows of one process. `rank` has its number."""
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=DistributedSampler(loader.dataset, rank.size, rank.rank, shuffle=True, seed=seed),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        persistent_workers=loader.persistent_workers,
    )


def _end() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
