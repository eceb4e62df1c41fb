"""How a batch transform job best uses a server: what ``/execution-parameters`` answers.

The platform holds payload times concurrency, at most 100 MB, and by default gives a request 600 s. Rows of concurrent
requests are computed together, so concurrency costs nothing; but all rows in flight wait for each other, so slow models
with small rows must not be sent too many.
"""

from __future__ import annotations

import math

from multimodal_algo.artifact import ModelConfig
from multimodal_algo.config.recipes import FINE_TUNED
from multimodal_algo.core.schema import Modality

# API, CreateTransformJob: the most that MaxPayloadInMB may be, and that it may be times MaxConcurrentTransforms.
_MOST_MB = 100
_USUAL_MB = 6
_MOST_REQUESTS = 64


def execution_parameters(config: ModelConfig, *, has_gpu: bool, single_record: bool) -> dict[str, int]:
    """``MaxConcurrentTransforms`` and ``MaxPayloadInMB`` for this machine and model.

    There is no ``BatchStrategy``: the SDK's local mode raises on the documented ``MULTI_RECORD``, which is the default.

    Parameters
    ----------
    config
        Of the artifact.
    has_gpu
        Whether a GPU runs its networks.
    single_record
        Whether the job says that requests have one row each: many of them then make a batch.
    """
    if single_record:
        # The more rows are under way, the less each pays of what a batch costs. A record that is larger than the
        # payload would fail the job, so the margin over the rows of training is wide.
        return _told(_MOST_REQUESTS, _room_for(config, 4) or _USUAL_MB)
    payload_mb = max(_USUAL_MB, _room_for(config, 2))
    if has_gpu:
        return _told(16, payload_mb)
    if _is_slow(config, has_gpu=has_gpu):
        return _told(1, payload_mb)
    if config.schema_.of(Modality.TEXT) and not config.schema_.of(Modality.IMAGE):
        # A megabyte of texts may be ten thousand rows, at several milliseconds each.
        return _told(4, max(2, _room_for(config, 2)))
    return _told(4, payload_mb)


def batch_rows(config: ModelConfig, *, has_gpu: bool, is_batch: bool) -> int:
    """Most rows that are computed at once: large batches pay, but on an endpoint a single row may wait for one.

    Fine-tuned networks on a CPU gain nothing from many rows, and would look as if they hung.
    """
    if _is_slow(config, has_gpu=has_gpu):
        return 16
    return 256 if is_batch else 64


def most_body_bytes(*, is_batch: bool, payload_mb: int | None) -> int:
    """The largest body that is read: what the platform can send, and some room.

    Parameters
    ----------
    is_batch
        Batch transform sends up to 100 MB, an endpoint up to 25.
    payload_mb
        ``SAGEMAKER_MAX_PAYLOAD_IN_MB``; 0 means that a file is one request, however large.
    """
    if is_batch and payload_mb == 0:
        return 1024 << 20
    return (max(_MOST_MB, payload_mb or 0) + 1) << 20 if is_batch else 26 << 20


def threads(concurrent: int | None) -> int:
    """Threads for HTTP: enough for the job's requests, and for pings beside them."""
    return max(_MOST_REQUESTS, concurrent or 0) + 8


def _is_slow(config: ModelConfig, *, has_gpu: bool) -> bool:
    """Whether it has fine-tuned networks on a CPU: a tenth of a second a row and more."""
    return not has_gpu and any(entry.branch in FINE_TUNED for entry in config.branches)


def _room_for(config: ModelConfig, times: int) -> int:
    """MB for so many of the largest row of training; 0 where that is not known."""
    return math.ceil(times * config.largest_row / (1 << 20))


def _told(concurrent: int, payload_mb: int) -> dict[str, int]:
    payload_mb = min(payload_mb, _MOST_MB)
    return {"MaxConcurrentTransforms": min(concurrent, _MOST_MB // payload_mb), "MaxPayloadInMB": payload_mb}
