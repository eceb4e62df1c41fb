"""Sizes of requests, batches and processes that make the best use of a server.

In a batch transform job, the platform allows at most 100 MB for payload times concurrency, and by default 600 s for a
request. Rows of concurrent requests are computed together, so concurrency costs nothing. But all these rows wait for
each other, so a slow model must not get too many small rows at once.
"""

from __future__ import annotations

import math

from multimodal_algo.artifact import ModelConfig
from multimodal_algo.config.transform import DEFAULT_PAYLOAD_MB, MAX_PAYLOAD_MB
from multimodal_algo.core.schema import Modality

_MOST_REQUESTS = 64
# Without networks, most of a batch's time does not depend on its rows, so large batches are twice as fast. Their votes
# stay small in memory.
_TABLE_ROWS, _TABLE_ROWS_OF_ENDPOINT, _MOST_VOTES = 4096, 256, 1_000_000
# Each process of a model without networks takes about a third of this.
_PROCESS_BYTES = 1 << 30


def execution_parameters(config: ModelConfig, *, has_gpu: bool, single_record: bool) -> dict[str, int]:
    """Return the answer to ``/execution-parameters``: the best concurrency and payload size for this model and machine.

    ``BatchStrategy`` is left out: its default ``MULTI_RECORD`` is right, but the SDK's local mode fails if it is named.

    Parameters
    ----------
    config
        Description of the artifact.
    has_gpu
        Whether a GPU runs the networks.
    single_record
        Whether each request of the job has only one row. Then many requests form a batch.
    """
    if single_record:
        # More rows at once share the cost of a batch. A record that is larger than the payload fails the job, so the
        # margin over the rows of training is large.
        return _parameters(_MOST_REQUESTS, _room_for(config, 4) or DEFAULT_PAYLOAD_MB)
    if not _has_networks(config):
        # A megabyte has thousands of rows. Several requests keep several processes busy.
        return _parameters(16, _room_for(config, 2) or 1)
    payload_mb = max(DEFAULT_PAYLOAD_MB, _room_for(config, 2))
    if has_gpu:
        return _parameters(16, payload_mb)
    if _is_slow(config, has_gpu=has_gpu):
        return _parameters(1, payload_mb)
    if config.schema_.of(Modality.TEXT) and not config.schema_.of(Modality.IMAGE):
        # A megabyte of texts may be ten thousand rows, each of which takes several milliseconds.
        return _parameters(4, max(2, _room_for(config, 2)))
    return _parameters(4, payload_mb)


def batch_rows(config: ModelConfig, *, has_gpu: bool, is_batch: bool) -> int:
    """Return the largest number of rows that are computed at once.

    Large batches are faster, but on an endpoint a single row may have to wait for one. Fine-tuned networks on a CPU do
    not get faster with more rows, and a large batch would take so long that they seem to hang.
    """
    if _is_slow(config, has_gpu=has_gpu):
        return 16
    if not _has_networks(config):
        rows = _TABLE_ROWS if is_batch else _TABLE_ROWS_OF_ENDPOINT
        return max(64, min(rows, _MOST_VOTES // config.task.outputs))
    return 256 if is_batch else 64


def processes(config: ModelConfig, *, gpus: int, cores: int, free_bytes: int) -> int:
    """Return the number of server processes. Each of them loads the models.

    There is one process per GPU. Without GPUs, networks use all cores from one process. Models without networks spend
    their time in Python, which uses one core per process.
    """
    if gpus or _has_networks(config):
        return max(1, gpus)
    return max(1, min(cores, free_bytes // _PROCESS_BYTES))


def most_body_bytes(*, is_batch: bool, payload_mb: int | None) -> int:
    """Return the size in bytes of the largest request body that is read: slightly more than the platform can send.

    Parameters
    ----------
    is_batch
        Whether this is batch transform, which sends up to 100 MB. An endpoint sends up to 25 MB.
    payload_mb
        ``SAGEMAKER_MAX_PAYLOAD_IN_MB``. 0 means that a whole file is one request.
    """
    if is_batch and payload_mb == 0:
        return 1024 << 20
    return (max(MAX_PAYLOAD_MB, payload_mb or 0) + 1) << 20 if is_batch else 26 << 20


def most_held_bytes(body_bytes: int, *, free_bytes: int, processes: int) -> int:
    """Return how many bytes of request bodies a process may hold at once: at least one body, or its part of the memory.

    That part is an eighth of the free memory, divided by the number of processes.
    """
    return max(body_bytes, free_bytes // processes // 8)


def threads(concurrent: int | None) -> int:
    """Return the number of threads that answer invocations. It suffices for all concurrent requests of a job."""
    return max(_MOST_REQUESTS, concurrent or 0)


def _has_networks(config: ModelConfig) -> bool:
    return bool(config.schema_.of(Modality.TEXT) or config.schema_.of(Modality.IMAGE))


def _is_slow(config: ModelConfig, *, has_gpu: bool) -> bool:
    """Return whether the model runs fine-tuned networks on a CPU, which takes a tenth of a second per row or more."""
    from multimodal_algo.branches.registry import is_fine_tuned  # heavy, and the server starts without it

    return not has_gpu and any(is_fine_tuned(entry.branch) for entry in config.branches)


def _room_for(config: ModelConfig, rows: int) -> int:
    """Return how many MB `rows` rows take if all are as large as the largest training row.

    0 if its size is not known.
    """
    return math.ceil(rows * config.largest_row / (1 << 20))


def _parameters(concurrent: int, payload_mb: int) -> dict[str, int]:
    payload_mb = min(payload_mb, MAX_PAYLOAD_MB)
    return {"MaxConcurrentTransforms": min(concurrent, MAX_PAYLOAD_MB // payload_mb), "MaxPayloadInMB": payload_mb}
