"""The environment variables that the programs ``train`` and ``serve`` read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_algo.config.transform import (
    BATCH_VARIABLE,
    CONCURRENT_VARIABLE,
    PAYLOAD_VARIABLE,
    STRATEGY_VARIABLE,
    BatchStrategy,
)
from multimodal_algo.core.errors import PlatformError
from multimodal_algo.sagemaker.paths import MLPaths

_INFERENCE = (
    "SAGEMAKER_INFERENCE_OUTPUT", "BAD_ROWS", "INFERENCE_ENGINE", "INFERENCE_ID", "UNKNOWN_KEYS",
    "COVERAGE", "QUANTILES", "DECISION_THRESHOLD", "ABSTAIN_BELOW", "TARGET_ACCURACY", "REVIEW_LABEL",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The settings that ``train`` and ``serve`` take from environment variables.

    Parameters
    ----------
    paths
        Tree of the platform's files (``SAGEMAKER_BASE_DIR``, default ``/opt/ml``).
    weights_dir
        Directory of the weights of frozen networks in the image (``WEIGHTS_DIR``, default ``/opt/weights``).
    is_batch
        Whether a batch transform job started the server (``SAGEMAKER_BATCH``, ``true`` or ``True``).
    port
        Port of the server (``SAGEMAKER_BIND_TO_PORT``, default 8080).
    allow_cpu_fallback
        Whether to continue without a GPU that is there but cannot be used (``ALLOW_CPU_FALLBACK=1``).
    single_record
        Whether the requests of a batch transform job have one row each (``SAGEMAKER_BATCH_STRATEGY``).
    max_payload_mb
        Largest request of a batch transform job in MB (``SAGEMAKER_MAX_PAYLOAD_IN_MB``). None if it is not set.
    max_concurrent
        Largest number of requests at a time (``SAGEMAKER_MAX_CONCURRENT_TRANSFORMS``). None if it is not set.
    model_timeout_s
        Seconds that the model may take for one batch of rows before it counts as hanging (``MODEL_TIMEOUT_S``).
    hosts_timeout_s
        Seconds that the hosts of a training job wait for each other (``HOSTS_TIMEOUT_S``, default 900).
    inference
        Environment variables for `InferenceOptions.of` and `Decider.of`, such as ``BAD_ROWS``.
    """

    paths: MLPaths
    weights_dir: Path
    is_batch: bool
    port: int
    allow_cpu_fallback: bool
    single_record: bool = False
    max_payload_mb: int | None = None
    max_concurrent: int | None = None
    model_timeout_s: float = 600
    hosts_timeout_s: float = 900
    inference: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the environment variables `environment`, by default those of this process.

        Raises
        ------
        PlatformError
            A variable is not a number, or is out of range.
        """
        env = os.environ if environment is None else environment
        port = _number(env, "SAGEMAKER_BIND_TO_PORT", 8080)
        if port is None or not 0 < port < 65536:
            raise PlatformError(f"SAGEMAKER_BIND_TO_PORT is '{port}', which is not a port.")
        return cls(
            paths=ml_paths(env),
            weights_dir=Path(env.get("WEIGHTS_DIR", "/opt/weights")).absolute(),
            is_batch=env.get(BATCH_VARIABLE, "").lower() == "true",
            port=port,
            allow_cpu_fallback=env.get("ALLOW_CPU_FALLBACK", "").lower() in ("1", "true", "yes"),
            single_record=BatchStrategy.of_server(env.get(STRATEGY_VARIABLE, "")) is BatchStrategy.SINGLE_RECORD,
            max_payload_mb=_number(env, PAYLOAD_VARIABLE, None),
            max_concurrent=_number(env, CONCURRENT_VARIABLE, None),
            model_timeout_s=_seconds(env, "MODEL_TIMEOUT_S", 600),
            hosts_timeout_s=_seconds(env, "HOSTS_TIMEOUT_S", 900),
            inference={name: value for name in _INFERENCE if (value := env.get(name))},
        )


def ml_paths(env: Mapping[str, str]) -> MLPaths:
    """Return the paths of SageMaker's contract below the directory that ``SAGEMAKER_BASE_DIR`` names."""
    return MLPaths(Path(env.get("SAGEMAKER_BASE_DIR", "/opt/ml")).absolute())


def _number(env: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise PlatformError(f"{name} is '{text[:40]}', which is not a whole number.")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        raise PlatformError(f"{name} is '{text[:40]}', which is not a number of seconds.")
    return seconds
