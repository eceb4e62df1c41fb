"""The settings of a batch transform job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multimodal_algo.local.records import BatchStrategy, SplitType


@dataclass(frozen=True)
class TransformJob:
    """The settings of a job, as in ``CreateTransformJob``; None leaves a setting to the server's answer.

    Parameters
    ----------
    split_type, strategy
        How files are cut into records, and records packed into payloads.
    max_payload_mb
        Most MB (1,048,576 bytes) of a payload.
    max_concurrent_transforms
        Most requests at a time.
    content_type, accept
        Headers of each request.
    assemble_with
        ``Line``: a newline after each answer that does not end with one; ``None``: plain concatenation.
    invocations_timeout_s, invocations_max_retries
        Of each request; retried are time-outs, lost connections and 5xx answers.
    env
        The server's environment, beside the platform's own variables.
    """

    split_type: SplitType = SplitType.LINE
    strategy: BatchStrategy | None = None
    max_payload_mb: int | None = None
    max_concurrent_transforms: int | None = None
    content_type: str = "text/csv"
    accept: str = "text/csv"
    assemble_with: str = "Line"
    invocations_timeout_s: int = 600
    invocations_max_retries: int = 3
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What the platform puts into the server's environment: limits only where the job sets them."""
        own = {"SAGEMAKER_BATCH": "true"}
        if self.max_payload_mb is not None:
            own["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(self.max_payload_mb)
        if self.strategy is not None:
            single = self.strategy is BatchStrategy.SINGLE_RECORD
            own["SAGEMAKER_BATCH_STRATEGY"] = "SINGLE_RECORD" if single else "MULTI_RECORD"
        if self.max_concurrent_transforms is not None:
            own["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(self.max_concurrent_transforms)
        return own | dict(self.env)
