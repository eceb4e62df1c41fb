"""One fit by several processes, each with its share of the rows.

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
    """The fit is finished, and another rank has the predictor."""


class Group:
    """The process group of one fit, as a context.

    Inside it all ranks are connected. Afterwards the process is as before. Where one rank leaves early, the ranks that
    wait for it get an error (gloo), or get one after a time (NCCL).

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
        """Leave the group."""
        self._stack.close()

    def least(self, number: int) -> int:
        """Return the least `number` of all ranks."""
        least = torch.tensor(number, device=self._device)
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        return int(least)

    def watch(self, learner: Any, *, seed: int) -> None:
        """Let AutoMM's `learner`, which is not fitted yet, learn from this rank's share of the rows.

        Every rank has all rows, and AutoMM's settings of several hosts. After the training the group is left.

        Raises
        ------
        NotFirstRank
            Out of the fit, on all ranks but the first.
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
    """Return a loader like AutoMM's `loader`, with the rows of the rank."""
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
