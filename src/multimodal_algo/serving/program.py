"""The program ``serve``, as the platform starts it: gunicorn with few processes and many threads."""

from __future__ import annotations

import itertools
import logging
import os
import resource
import sys
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger

from multimodal_algo.artifact import artifact_folder, read_description
from multimodal_algo.config.inference import InferenceOptions
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.memory import available_bytes, out_of_memory_kills
from multimodal_algo.sagemaker.devices import find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.settings import Settings
from multimodal_algo.serving.app import create_app
from multimodal_algo.serving.front.loop import FrontLimits
from multimodal_algo.serving.service import ModelService, ServedModel
from multimodal_algo.serving.sizing import (
    batch_rows,
    execution_parameters,
    most_body_bytes,
    most_held_bytes,
    processes,
    threads,
)

_LOG = logging.getLogger(__name__)

# The main loop of a worker gives a sign of life every second. The arbiter kills a worker without one for this time.
_WORKER_TIMEOUT_S = 120
_MOST_CLIENTS = 10_000
# File descriptors for other things than clients.
_OTHER_FILES = 256
# The platform sends SIGKILL 30 s after SIGTERM.
_GRACE_S = 25
# A server that cannot serve answers requests with the reason for this time. Then it exits.
_FAILED_S = 5
# A process whose model hangs answers its requests with the reason for this time. Then it exits.
_HANGING_S = 2
_REPLACED = 1
_SWITCH_S = 5e-4


class Server(BaseApplication):
    """The server on the platform's port. It runs until it is stopped.

    Each GPU gets a process with its own models. Without a GPU there is one process. If the model has no networks, there
    is one process for each core.

    Parameters
    ----------
    settings
        Settings from the environment variables.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The arrays that these libraries compute are small. More threads would only spin while they wait.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        self._born = time.monotonic() - _age_s()
        self._memory_kills = out_of_memory_kills()
        self._devices = find_devices()
        _LOG.info("%s", self._devices.summary)
        self._service = ModelService(self._load_model, lambda: time.monotonic() - self._born)
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options. Gunicorn calls this method."""
        options: dict[str, Any] = {
            "bind": f"0.0.0.0:{self._settings.port}",
            "workers": self._processes(),
            "worker_class": "multimodal_algo.serving.front.worker.FrontWorker",
            "timeout": _WORKER_TIMEOUT_S,
            "graceful_timeout": _GRACE_S,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
            # Nobody manages this server, and the socket would be in a read-only directory.
            "control_socket_disable": True,
            "accesslog": None,
            "loglevel": "warning",
            "logger_class": _Log,
            "pre_fork": _assign_gpu,
            "post_fork": self._use_gpu,
            "post_worker_init": self._begin,
            "worker_exit": self._log_counts,
            "child_exit": self._log_memory,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the WSGI application. Gunicorn calls this method in each worker."""
        return create_app(self._service, self._execution_parameters, self.front_limits.body_bytes)

    @cached_property
    def front_limits(self) -> FrontLimits:
        """How many threads, connections and bytes the front of each process may use."""
        settings = self._settings
        body_bytes = most_body_bytes(is_batch=settings.is_batch, payload_mb=settings.max_payload_mb)
        return FrontLimits(
            threads=threads(settings.max_concurrent),
            clients=min(_MOST_CLIENTS, _most_files() - _OTHER_FILES),
            body_bytes=body_bytes,
            held_bytes=most_held_bytes(body_bytes, free_bytes=available_bytes(), processes=self.cfg.workers),
        )

    def _execution_parameters(self) -> dict[str, int]:
        # The platform asks before the models are loaded.
        config = read_description(artifact_folder(self._settings.paths.model))
        return execution_parameters(config, has_gpu=self._devices.gpus > 0, single_record=self._settings.single_record)

    def _processes(self) -> int:
        try:
            config = read_description(artifact_folder(self._settings.paths.model))
        except UserError:
            return max(1, self._devices.gpus)  # each of them will say what is wrong with the artifact
        cores = len(os.sched_getaffinity(0))
        return processes(config, gpus=self._devices.gpus, cores=cores, free_bytes=available_bytes())

    def _use_gpu(self, arbiter: Any, worker: Any) -> None:
        if self._devices.gpus > 1:
            visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
            os.environ["CUDA_VISIBLE_DEVICES"] = visible[worker.gpu] if visible else str(worker.gpu)

    def _begin(self, worker: Any) -> None:
        # Networks take the interpreter's lock between their batches. They must not wait long for the thread that makes
        # the answers.
        sys.setswitchinterval(_SWITCH_S)
        # The models are loaded in the worker, after the fork, because a fork hangs once CUDA or OpenMP has started.
        threading.Thread(target=self._load_or_exit, name="load-model", daemon=True).start()
        threading.Thread(target=self._watch, name="watch-model", daemon=True).start()

    def _load_or_exit(self) -> None:
        if not self._service.load():
            # For a moment /ping answers 500, and waiting requests get the reason.
            time.sleep(_FAILED_S)
            # With this exit code the arbiter stops instead of starting the worker again, and a batch job ends. A
            # server that answered pings with errors would hold the job for half an hour.
            logging.shutdown()
            os._exit(Arbiter.WORKER_BOOT_ERROR)

    def _watch(self) -> None:
        limit = self._settings.model_timeout_s
        while self._service.busy_s <= limit:
            time.sleep(min(1.0, limit / 10))
        _LOG.error("the model has been at one batch of rows for more than %g s. Its process is replaced", limit)
        self._service.give_up(f"The model did not answer within {limit:g} s and is started again.")
        time.sleep(_HANGING_S)
        logging.shutdown()
        os._exit(_REPLACED)

    def _log_counts(self, arbiter: Any, worker: Any) -> None:
        counts = self._service.counts
        if counts.requests:
            _LOG.info("served %d rows of %d requests, %d of them bad", counts.rows, counts.requests, counts.bad_rows)
        if drift := self._service.drift():
            _LOG.info("drift: %s", drift)

    def _log_memory(self, arbiter: Any, worker: Any) -> None:
        """Log if a process was killed because memory ran out. Gunicorn calls this method in its parent process."""
        kills = out_of_memory_kills()
        if kills > self._memory_kills:
            _LOG.error("process %d was killed because the container's memory is used up. It is replaced", worker.pid)
        self._memory_kills = kills

    def _load_model(self) -> ServedModel:
        allow = self._settings.allow_cpu_fallback
        require_usable(self._devices, allow_cpu_fallback=allow)
        require_torch_sees_gpus(self._devices, allow_cpu_fallback=allow)
        from multimodal_algo.serving.deciding import Decider
        from multimodal_algo.serving.loaded_model import LoadedModel

        directory = artifact_folder(self._settings.paths.model)
        if directory != self._settings.paths.model:
            _LOG.info("the artifact is in the folder %s", directory)
        config = read_description(directory)
        decider = Decider.of(config.decision, config.classes, self._settings.inference)
        options = InferenceOptions.of(
            config.hyperparameters,
            self._settings.inference,
            schema=config.schema_,
            task=config.task,
            is_batch=self._settings.is_batch,
            may_review=decider is not None and decider.may_review,
        )
        rows = batch_rows(config, has_gpu=self._devices.gpus > 0, is_batch=self._settings.is_batch)
        model = LoadedModel.load(directory, options.engine)
        return ServedModel(model, options, rows, self._settings.is_batch, self._settings.single_record, decider)


def _assign_gpu(arbiter: Any, worker: Any) -> None:
    """Give a new worker the first free GPU. Gunicorn calls this function in its parent process, before the fork."""
    taken = {other.gpu for other in arbiter.WORKERS.values()}
    worker.gpu = next(number for number in itertools.count() if number not in taken)


def _most_files() -> int:
    """Raise this process's limit of open files as far as necessary and allowed. Return the new limit."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CLIENTS + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return max(now, wanted)


def _age_s() -> float:
    """Return for how many seconds this process has been running."""
    started = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


class _Log(GunicornLogger):
    """Sends gunicorn's messages to stdout, like all other messages of the server."""

    def setup(self, cfg: Any) -> None:
        """Remove gunicorn's log handlers, but keep its log levels. Gunicorn calls this method."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def run_serving() -> None:
    """Serve the artifact in the platform's model directory until the server is stopped.

    Settings come from environment variables.

    Raises
    ------
    UserError
        An environment variable has a value that cannot be used.
    """
    settings = Settings.from_environment()
    _LOG.info("serving %s on port %d", settings.paths.model, settings.port)
    Server(settings).run()
