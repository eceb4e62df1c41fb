"""Checks of hyperparameters against channels and hosts, before any data is read.

Training makes these checks at its start. The commands that request a job make them before the job costs anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from multimodal_algo.config.channels import MODEL, TRAIN, VALIDATION
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError


@dataclass(frozen=True)
class JobInput:
    """The channels of a training job, the way in which each arrives, and the number of hosts.

    Parameters
    ----------
    channels
        Names of the channels.
    piped
        Names of the channels with the input mode Pipe.
    sharded
        Names of the channels that are split, so that each host has only a share of the files.
    hosts
        Number of hosts.
    """

    channels: frozenset[str]
    piped: frozenset[str] = frozenset()
    sharded: frozenset[str] = frozenset()
    hosts: int = 1


def require_possible(hyperparameters: HyperParameters, job: JobInput) -> None:
    """Refuse hyperparameters that training cannot honour with these channels and hosts.

    Raises
    ------
    UserError
        A channel arrives in a way that the hyperparameters do not allow, or is missing.
    """
    if hyperparameters.distill_from == "model":
        require_teacher(has_model=MODEL.name in job.channels, is_piped=TRAIN.name in job.piped)
    for channel in (TRAIN.name, VALIDATION.name):
        if job.hosts > 1 and hyperparameters.distribution == "auto" and channel in job.piped:
            raise shared_pipe(channel)
        if job.hosts > 1 and hyperparameters.distribution == "off" and channel in job.sharded:
            raise UserError(
                f"distribution=off trains on one host, which has only a share of the channel '{channel}' "
                "(ShardedByS3Key). Set the channel's S3DataDistributionType to FullyReplicated, or distribution=auto."
            )


def require_teacher(*, has_model: bool, is_piped: bool) -> None:
    """Refuse ``distill_from=model`` without a model channel, or with training data that can be read only once.

    Raises
    ------
    UserError
        The teacher is missing, or the training data comes through a pipe.
    """
    if not has_model:
        raise UserError("distill_from is model, but the job has no model channel. Give the teacher's model.tar.gz.")
    if is_piped:
        raise UserError("distill_from reads the training data twice, which Pipe mode does not allow. Use File mode.")


def shared_pipe(channel: str) -> UserError:
    """Return the error for a channel with the input mode Pipe in a job with several hosts."""
    return UserError(
        f"The channel '{channel}' comes by Pipe, which several instances cannot share: "
        "set its InputMode to File or FastFile, or distribution=off."
    )
