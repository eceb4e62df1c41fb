"""The settings of a batch transform job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from multimodal_algo.core.errors import UserError
from multimodal_algo.local.records import BatchStrategy, CompressionType, SplitType

# API: InvocationsTimeoutInSeconds, InvocationsMaxRetries, TransformEnvironmentMap.
_MOST_TIMEOUT_S = 3600
_MOST_RETRIES = 3
_MOST_VARIABLES = 16


class JoinSource(StrEnum):
    """What stands beside an answer in the output: nothing, or its input record."""

    NONE = "None"
    INPUT = "Input"


@dataclass(frozen=True)
class DataProcessing:
    """Which part of a record is sent, and which part of record and answer is kept.

    Parameters
    ----------
    input_filter
        JSONPath of what the server is sent.
    join_source
        Whether the whole input record, before its filter, is joined with its answer.
    output_filter
        JSONPath of what is kept of the answer, or of record and answer joined.
    """

    input_filter: str = "$"
    join_source: JoinSource = JoinSource.NONE
    output_filter: str = "$"


@dataclass(frozen=True)
class TransformJob:
    """The settings of a job, as in ``CreateTransformJob``; None leaves a setting to the server's answer.

    Parameters
    ----------
    split_type, strategy
        How files are cut into records, and records packed into payloads.
    max_payload_mb
        Most MB (1,048,576 bytes) of a payload; 0: each file is one request of any size, in chunks.
    max_concurrent_transforms
        Most requests at a time.
    compression_type
        Whether files are decompressed before they are cut.
    content_type, accept
        Headers of each request.
    data_processing
        Filters and join.
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
    compression_type: CompressionType = CompressionType.NONE
    content_type: str = "text/csv"
    accept: str = "text/csv"
    assemble_with: str = "Line"
    data_processing: DataProcessing = DataProcessing()
    invocations_timeout_s: int = 600
    invocations_max_retries: int = 3
    env: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Hold the settings to the platform's limits, as far as they do not depend on the server.

        Raises
        ------
        UserError
            One is beyond them.
        """
        if not 1 <= self.invocations_timeout_s <= _MOST_TIMEOUT_S:
            raise UserError(
                f"InvocationsTimeoutInSeconds is {self.invocations_timeout_s}: it must be from 1 to {_MOST_TIMEOUT_S}."
            )
        if not 0 <= self.invocations_max_retries <= _MOST_RETRIES:
            raise UserError(
                f"InvocationsMaxRetries is {self.invocations_max_retries}: it must be from 0 to {_MOST_RETRIES}."
            )
        if len(self.env) > _MOST_VARIABLES:
            raise UserError(f"Environment has {len(self.env)} variables: a job takes at most {_MOST_VARIABLES}.")

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
