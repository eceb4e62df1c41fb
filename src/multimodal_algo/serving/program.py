"""gunicorn around the application: a process with the models per GPU, threads for HTTP."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger

from multimodal_algo.artifact import read_description
from multimodal_algo.config.inference import InferenceOptions
from multimodal_algo.sagemaker.devices import find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.settings import Settings
from multimodal_algo.serving.app import create_app
from multimodal_algo.serving.service import Loaded, ModelService
from multimodal_algo.serving.sizing import batch_rows, execution_parameters, most_body_bytes, threads

_LOG = logging.getLogger(__name__)

# The main loop of a worker tells every second that it lives; the arbiter kills one that did not for so long.
_SILENCE_S = 120
# A client that sends or takes nothing for so long is cut off.
_IDLE_S = 30
# The platform kills 30 s after SIGTERM.
_GRACE_S = 25
# How long a server that cannot serve says so before it exits.
_FAILED_S = 5
_HANGING_S = 2
_REPLACED = 1
_SWITCH_S = 5e-4


class Server(BaseApplication):
    """``serve``: answers on the platform's port until it is told to stop.

    There is one process with the models per GPU, or one in all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # What is left to libraries is small: their threads would only wait for each other, by spinning.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        self._born = time.monotonic() - _age_s()
        self._devices = find_devices()
        _LOG.info("%s", self._devices.summary)
        self._service = ModelService(self._load_model, lambda: time.monotonic() - self._born)
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options (called by gunicorn)."""
        options: dict[str, Any] = {
            "bind": f"0.0.0.0:{self._settings.port}",
            "workers": max(1, self._devices.gpus),
            "worker_class": "gthread",
            "threads": threads(self._settings.max_concurrent),
            "worker_connections": 10_000,
            "timeout": _SILENCE_S,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
            # Nobody manages this server, and its socket would lie where nothing can be written.
            "control_socket_disable": True,
            "accesslog": None,
            "loglevel": "warning",
            "logger_class": _Log,
            "pre_fork": _assign_gpu,
            "post_fork": self._use_gpu,
            "post_worker_init": self._begin,
            "worker_exit": self._tell_counts,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application (called by gunicorn, in the worker)."""
        settings = self._settings
        most = most_body_bytes(is_batch=settings.is_batch, payload_mb=settings.max_payload_mb)
        return create_app(self._service, self._execution_parameters, most)

    def _execution_parameters(self) -> dict[str, int]:
        # The platform asks before the models are loaded.
        config = read_description(self._settings.paths.model)
        return execution_parameters(config, has_gpu=self._devices.gpus > 0, single_record=self._settings.single_record)

    def _use_gpu(self, arbiter: Any, worker: Any) -> None:
        if self._devices.gpus > 1:
            visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
            os.environ["CUDA_VISIBLE_DEVICES"] = visible[worker.gpu] if visible else str(worker.gpu)

    def _begin(self, worker: Any) -> None:
        for listener in worker.sockets:
            # Connections inherit it. gthread's threads would wait forever for what a client began to send.
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _IDLE_S, 0))
        # Networks take the interpreter's lock between their batches: they must not wait for it while answers are made.
        sys.setswitchinterval(_SWITCH_S)
        # Only in the worker, after the fork: a process that forks with CUDA or OpenMP started hangs.
        threading.Thread(target=self._load_or_exit, name="load-model", daemon=True).start()
        threading.Thread(target=self._watch, name="watch-model", daemon=True).start()

    def _load_or_exit(self) -> None:
        if not self._service.load():
            # /ping answers 500 and waiting requests their reason, for a moment.
            time.sleep(_FAILED_S)
            # The arbiter stops, instead of starting the worker again, when it ends with this code. A batch job is
            # then over; answering pings with errors would keep it for half an hour.
            logging.shutdown()
            os._exit(Arbiter.WORKER_BOOT_ERROR)

    def _watch(self) -> None:
        limit = self._settings.model_timeout_s
        while self._service.busy_s <= limit:
            time.sleep(min(1.0, limit / 10))
        _LOG.error("the model has been at one batch of rows for more than %g s; its process is replaced", limit)
        self._service.give_up(f"The model did not answer within {limit:g} s and is started again.")
        time.sleep(_HANGING_S)
        logging.shutdown()
        os._exit(_REPLACED)

    def _tell_counts(self, arbiter: Any, worker: Any) -> None:
        counts = self._service.counts
        if counts.requests:
            _LOG.info("served %d rows of %d requests, %d of them bad", counts.rows, counts.requests, counts.bad_rows)

    def _load_model(self) -> Loaded:
        allow = self._settings.allow_cpu_fallback
        require_usable(self._devices, allow_cpu_fallback=allow)
        require_torch_sees_gpus(self._devices, allow_cpu_fallback=allow)
        from multimodal_algo.serving.loaded_model import LoadedModel

        directory = self._settings.paths.model
        config = read_description(directory)
        options = InferenceOptions.of(
            config.hyperparameters,
            self._settings.inference,
            schema=config.schema_,
            task=config.task,
            is_batch=self._settings.is_batch,
        )
        rows = batch_rows(config, has_gpu=self._devices.gpus > 0, is_batch=self._settings.is_batch)
        return Loaded(LoadedModel.load(directory, options.engine), options, rows)


def _assign_gpu(arbiter: Any, worker: Any) -> None:
    """Give a worker, in the arbiter before it is forked, the first GPU that none has."""
    taken = {other.gpu for other in arbiter.WORKERS.values()}
    worker.gpu = next(number for number in itertools.count() if number not in taken)


def _age_s() -> float:
    """How long ago this process was started."""
    started = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


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
