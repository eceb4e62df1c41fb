"""Environment variables, read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.errors import PlatformError
from multimodal_algo.sagemaker.paths import MLPaths


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
    """

    paths: MLPaths
    weights_dir: Path
    is_batch: bool
    port: int
    allow_cpu_fallback: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the process's environment, or the one given.

        Raises
        ------
        PlatformError
            ``SAGEMAKER_BIND_TO_PORT`` is no port.
        """
        env = os.environ if environment is None else environment
        port = env.get("SAGEMAKER_BIND_TO_PORT", "8080")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise PlatformError(f"SAGEMAKER_BIND_TO_PORT is '{port}', which is no port.")
        return cls(
            paths=MLPaths(Path(env.get("SAGEMAKER_BASE_DIR", "/opt/ml")).absolute()),
            weights_dir=Path(env.get("WEIGHTS_DIR", "/opt/weights")).absolute(),
            is_batch=env.get("SAGEMAKER_BATCH", "").lower() == "true",
            port=int(port),
            allow_cpu_fallback=env.get("ALLOW_CPU_FALLBACK", "").lower() in ("1", "true", "yes"),
        )
