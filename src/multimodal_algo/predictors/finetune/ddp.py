"""One fit by several processes, each with its share of the rows: AutoMM's learner as one rank of Lightning's.

Importing it imports Lightning and torch.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

from multimodal_algo.execution.ranks import Rank

# A sentence network's own pooling layer is not used; plain "ddp" would refuse the second step.
_STRATEGY = "ddp_find_unused_parameters_true"


class Done(Exception):
    """The fit is done, and the predictor is that of another rank."""


class Group:
    """The process group of one fit, as a context: within, all ranks are there; afterwards, no trace of it is.

    Where one rank leaves early, those that wait for it are told by an error (gloo), or after a time (NCCL).

    Parameters
    ----------
    rank
        Which of the processes this one is.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self._stack = ExitStack()

    def __enter__(self) -> Group:
        rank, device = self.rank, self._device
        with ExitStack() as stack:
            stack.enter_context(rank.environment())
            # Lightning sets it for good: later fits of this process would neither log nor write.
            stack.callback(setattr, rank_zero_only, "rank", getattr(rank_zero_only, "rank", 0))
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
        """Have no group any more."""
        self._stack.close()

    def least(self, number: int) -> int:
        """The least `number` of all ranks."""
        found = torch.tensor(number, device=self._device)
        distributed.all_reduce(found, distributed.ReduceOp.MIN)
        return int(found)

    def watch(self, learner: Any, *, seed: int) -> None:
        """Make AutoMM's `learner`, which is not yet fitted, learn from this rank's share of the rows.

        Every rank has all rows, and AutoMM's settings of several hosts. Training done, the group is left.

        Raises
        ------
        Done
            Out of the fit, on all ranks but the first.
        """
        rank = self.rank
        init_trainer, run_trainer = learner.init_trainer_per_run, learner.run_trainer

        def init(*args: Any, config: Any, **kwargs: Any) -> Any:
            trainer = init_trainer(*args, config=config, **{**kwargs, "strategy": _STRATEGY})
            trainer.strategy.parallel_devices = [self._device]
            config.env.num_nodes = 1  # what the learner predicts afterwards it predicts alone
            if not rank.is_first:
                # It would list the checkpoints in the first rank's directory, which may be another host's.
                trainer.checkpoint_callback.to_yaml = lambda *_: None
            return trainer

        def run(trainer: Any, litmodule: Any, datamodule: Any, *args: Any, **kwargs: Any) -> None:
            del learner.init_trainer_per_run, learner.run_trainer
            all_rows = datamodule.train_dataloader
            # Lightning would do this too, but after AutoMM has counted the steps by which the learning rate falls.
            datamodule.train_dataloader = lambda: _share(all_rows(), rank, seed)
            run_trainer(trainer, litmodule, datamodule, *args, **kwargs)
            self.leave()
            if not rank.is_first:
                raise Done  # AutoMM would end the process
            # AutoMM asks for its rank once more, which without one is the first.
            trainer.strategy.cluster_environment = None

        learner.init_trainer_per_run, learner.run_trainer = init, run


def _share(loader: Any, rank: Rank, seed: int) -> Any:
    """A loader like AutoMM's `loader`, of the rows that are the rank's."""
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
