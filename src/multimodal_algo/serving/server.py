"""gunicorn around the application: one model process, threads for HTTP."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger

from multimodal_algo.sagemaker.devices import find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.settings import Settings
from multimodal_algo.serving.app import create_app
from multimodal_algo.serving.service import ModelService

if TYPE_CHECKING:
    from multimodal_algo.serving.predictor import Predictor

_LOG = logging.getLogger(__name__)

_THREADS = 16
# A transform request may take an hour (API: InvocationsTimeoutInSeconds).
_TIMEOUT_S = 3600
# The platform kills 30 s after SIGTERM.
_GRACE_S = 25
# How long a server that cannot serve says so before it exits.
_FAILED_S = 5


class Server(BaseApplication):
    """``serve``: answers on the platform's port until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._devices = find_devices()
        _LOG.info("%s", self._devices.summary)
        self._service = ModelService(self._load_predictor, is_batch=settings.is_batch)
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options (called by gunicorn)."""
        options: dict[str, Any] = {
            "bind": f"0.0.0.0:{self._settings.port}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": _THREADS,
            "timeout": _TIMEOUT_S,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
            # Nobody manages this server, and its socket would lie where nothing can be written.
            "control_socket_disable": True,
            "accesslog": None,
            "loglevel": "warning",
            "logger_class": _Log,
            "post_worker_init": self._load_in_background,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application (called by gunicorn, in the worker)."""
        return create_app(self._service)

    def _load_in_background(self, worker: Any) -> None:
        # Only in the worker, after the fork: a process that forks with CUDA or OpenMP started hangs.
        threading.Thread(target=self._load_or_exit, name="load-model", daemon=True).start()

    def _load_or_exit(self) -> None:
        if not self._service.load():
            # /ping answers 500 and waiting requests their reason, for a moment.
            time.sleep(_FAILED_S)
            # The arbiter stops, instead of starting the worker again, when it ends with this code. A batch job is
            # then over; answering pings with errors would keep it for half an hour.
            logging.shutdown()
            os._exit(Arbiter.WORKER_BOOT_ERROR)

    def _load_predictor(self) -> Predictor:
        allow = self._settings.allow_cpu_fallback
        require_usable(self._devices, allow_cpu_fallback=allow)
        require_torch_sees_gpus(self._devices, allow_cpu_fallback=allow)
        from multimodal_algo.serving.predictor import Predictor

        return Predictor.load(self._settings.paths.model)


class _Log(GunicornLogger):
    """gunicorn's messages go where ours go: to stdout."""

    def setup(self, cfg: Any) -> None:
        """Keep gunicorn's levels, drop its handlers (called by gunicorn)."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def serve(settings: Settings) -> None:
    """Serve the artifact in the platform's model directory; returns when stopped."""
    _LOG.info("serving %s on port %d", settings.paths.model, settings.port)
    Server(settings).run()
