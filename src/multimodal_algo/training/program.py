"""``train`` as the platform starts it: read the config files, train, and leave a failure file if that fails."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.checkpointing import Stopped, StopRequest
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.execution.roles import Lead, follow
from multimodal_algo.sagemaker.config import (
    IMAGES_CHANNEL,
    MODEL_CHANNEL,
    PRETRAINED_CHANNEL,
    TRAIN_CHANNEL,
    VALIDATION_CHANNEL,
    channel_path,
    is_sharded,
    read_hosts,
    read_hyperparameters,
    train_channel,
    unused_channels,
)
from multimodal_algo.sagemaker.devices import Devices, find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.paths import MLPaths
from multimodal_algo.sagemaker.settings import Settings, ml_paths
from multimodal_algo.sagemaker.stop import exit_on_sigterm

if TYPE_CHECKING:
    from multimodal_algo.execution.protocol import Executor

_LOG = logging.getLogger(__name__)

# API: FailureReason has at most 1,024 characters.
_FAILURE_CHARACTERS = 1024
# The platform sends SIGKILL 120 s after SIGTERM.
_FLUSH_S = 90


def run_training() -> int:
    """Run the training job of the platform's tree, as the process's environment says.

    Of several hosts the first one trains and the others lend themselves to it; all fail together, with one reason.

    Returns
    -------
    int
        The exit code: 0, or 1 with the reason in ``output/failure``. A user's mistake leaves one sentence; a bug
        leaves its type, and its traceback in the log.
    """
    paths = ml_paths(os.environ)
    paths.failure.unlink(missing_ok=True)
    stop, ended = StopRequest(), threading.Event()
    exit_on_sigterm(lambda: _stop(stop, ended, paths))
    devices = find_devices()
    _LOG.info("%s", devices.summary)
    reason = _reason(lambda: _run(paths, devices, stop, ended))
    if reason is None:
        return 0
    _LOG.error("%s", reason)
    _write_failure(paths, reason)
    return 1


def _reason(run: Callable[[], None]) -> str | None:
    """Why `run` failed; None where it did not."""
    try:
        run()
    except Stopped:
        threading.Event().wait()  # the thread that was told of the signal ends the process
    except (UserError, PlatformError) as error:
        return str(error)
    except Exception as error:
        _LOG.exception("training failed: a bug")
        return f"Internal error ({type(error).__name__}: {error}). The log has the details."
    return None


def _run(paths: MLPaths, devices: Devices, stop: StopRequest, ended: threading.Event) -> None:
    """Do this host's part of the job."""
    settings = Settings.from_environment()
    hosts = read_hosts(paths)

    def gpus() -> int:
        require_usable(devices, allow_cpu_fallback=settings.allow_cpu_fallback)
        return 0 if devices.problem else devices.gpus

    def end(reason: str | None) -> None:
        if reason is not None:
            _write_failure(paths, reason)
        ended.set()

    if not hosts.leads:
        follow(hosts, gpus, settings.hosts_timeout_s, heard=end)
        return
    lead = None

    def executor(hyperparameters: HyperParameters, found: int) -> Executor | None:
        nonlocal lead
        parallelism = hyperparameters.distribution == "auto"
        if len(hosts.names) == 1:
            if not parallelism or found < 2:
                return None
            lead = Lead(hosts)
        elif not parallelism:
            _require_all_data(paths)
            return None
        assert lead is not None
        return lead.executor(found, settings.hosts_timeout_s)

    def run() -> None:
        found, hyperparameters = gpus(), read_hyperparameters(paths)
        _train(paths, hyperparameters, settings, devices, stop, lambda: executor(hyperparameters, found))

    if len(hosts.names) > 1:
        lead = Lead(hosts)
        _LOG.info("hosts: this is %s, which leads, of %s", hosts.current, hosts.told())
    reason = _reason(run)
    if reason is not None and lead is not None and not reason.startswith(tuple(f"{host}: " for host in hosts.names)):
        reason = f"{hosts.current}: {reason}"
    end(reason)
    if lead is not None:
        lead.end(reason)
    if reason is not None:
        raise PlatformError(reason)


def _train(
    paths: MLPaths,
    hyperparameters: HyperParameters,
    settings: Settings,
    devices: Devices,
    stop: StopRequest,
    executor: Callable[[], Executor | None],
) -> None:
    """Train; `executor` is asked for the hosts when what can be wrong on this one was looked at."""
    data = train_channel(paths)
    _LOG.info("training: quality %s, %g s for fitting", hyperparameters.quality, hyperparameters.budget_s)
    for channel in unused_channels(paths):
        _LOG.warning("the channel '%s' is not used: train, validation, images, model and pretrained are", channel)
    require_torch_sees_gpus(devices, allow_cpu_fallback=settings.allow_cpu_fallback)
    from multimodal_algo.training.job import Channels, train

    train(
        Channels(
            data,
            channel_path(paths, VALIDATION_CHANNEL),
            channel_path(paths, IMAGES_CHANNEL),
            model=channel_path(paths, MODEL_CHANNEL),
            pretrained=channel_path(paths, PRETRAINED_CHANNEL),
        ),
        hyperparameters,
        weights_dir=settings.weights_dir,
        checkpoints_dir=paths.checkpoints,
        model_dir=paths.model,
        output_dir=paths.output_data,
        stop=stop,
        executor=executor(),
    )


def _require_all_data(paths: MLPaths) -> None:
    for channel in (TRAIN_CHANNEL, VALIDATION_CHANNEL):
        if is_sharded(paths, channel):
            raise UserError(
                f"distribution=off trains on one host, which has only a share of the channel '{channel}' "
                "(ShardedByS3Key). Set the channel's S3DataDistributionType to FullyReplicated, or distribution=auto."
            )


def _stop(stop: StopRequest, ended: threading.Event, paths: MLPaths) -> None:
    if ended.is_set():
        # The job is done, and other hosts end before this one: that is not a failure.
        os._exit(1 if paths.failure.exists() else 0)
    stop.ask(_FLUSH_S)
    _LOG.warning("stopped by SIGTERM; a job that starts with these checkpoints goes on with what is finished")
    _write_failure(paths, "Stopped by SIGTERM before the artifact was whole. Finished parts are in the checkpoints.")
    logging.shutdown()


def _write_failure(paths: MLPaths, reason: str) -> None:
    paths.failure.parent.mkdir(parents=True, exist_ok=True)
    paths.failure.write_text(reason[:_FAILURE_CHARACTERS], encoding="utf-8")
