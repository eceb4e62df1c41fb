"""Environment variables, read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.sagemaker.paths import MLPaths

_INFERENCE = ("SAGEMAKER_INFERENCE_OUTPUT", "BAD_ROWS", "INFERENCE_ENGINE")


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Parameters
    ----------
    paths
        The tree that ``SAGEMAKER_BASE_DIR`` names (default ``/opt/ml``).
    weights_dir
        Where backbone weights are baked in: ``WEIGHTS_DIR`` (default ``/opt/weights``).
    is_batch
        Whether a batch transform job started the server (``SAGEMAKER_BATCH``; its spelling varies).
    port
        Port of the server: ``SAGEMAKER_BIND_TO_PORT`` (default 8080).
    allow_cpu_fallback
        Whether to go on without a GPU that is there but unusable (``ALLOW_CPU_FALLBACK=1``).
    single_record
        Whether a batch transform job says that its requests have one row each (``SAGEMAKER_BATCH_STRATEGY``).
    max_payload_mb, max_concurrent
        What a batch transform job says of its requests (``SAGEMAKER_MAX_PAYLOAD_IN_MB``,
        ``SAGEMAKER_MAX_CONCURRENT_TRANSFORMS``); None where it does not.
    model_timeout_s
        After how long at one batch of rows the model counts as hanging (``MODEL_TIMEOUT_S``, default 600).
    hosts_timeout_s
        How long the hosts of a training job wait for each other (``HOSTS_TIMEOUT_S``, default 900).
    inference
        The environment that `InferenceOptions.of` takes.
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
        """Read the process's environment, or the one given.

        Raises
        ------
        PlatformError
            A number is none, or out of range.
        """
        env = os.environ if environment is None else environment
        port = _number(env, "SAGEMAKER_BIND_TO_PORT", 8080)
        if port is None or not 0 < port < 65536:
            raise PlatformError(f"SAGEMAKER_BIND_TO_PORT is '{port}', which is no port.")
        return cls(
            paths=ml_paths(env),
            weights_dir=Path(env.get("WEIGHTS_DIR", "/opt/weights")).absolute(),
            is_batch=env.get("SAGEMAKER_BATCH", "").lower() == "true",
            port=port,
            allow_cpu_fallback=env.get("ALLOW_CPU_FALLBACK", "").lower() in ("1", "true", "yes"),
            single_record="single" in env.get("SAGEMAKER_BATCH_STRATEGY", "").lower(),
            max_payload_mb=_number(env, "SAGEMAKER_MAX_PAYLOAD_IN_MB", None),
            max_concurrent=_number(env, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", None),
            model_timeout_s=_seconds(env, "MODEL_TIMEOUT_S", 600),
            hosts_timeout_s=_seconds(env, "HOSTS_TIMEOUT_S", 900),
            inference={name: value for name in _INFERENCE if (value := env.get(name))},
        )


def ml_paths(env: Mapping[str, str]) -> MLPaths:
    """The tree that ``SAGEMAKER_BASE_DIR`` names."""
    return MLPaths(Path(env.get("SAGEMAKER_BASE_DIR", "/opt/ml")).absolute())


def _number(env: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise PlatformError(f"{name} is '{text[:40]}', which is no whole number.")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        raise PlatformError(f"{name} is '{text[:40]}', which is no number of seconds.")
    return seconds
