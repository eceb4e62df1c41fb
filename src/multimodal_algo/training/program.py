"""The program ``train``, as the platform starts it in a container.

It reads the config files and trains. If that fails, it leaves a file with the reason. If there are several hosts, the
first one leads the training and the others do work items for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multimodal_algo.config.channels import IMAGES, MODEL, PRETRAINED, TRAIN, VALIDATION, channel_names
from multimodal_algo.config.combinations import JobInput, require_possible
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.checkpointing import Stopped, StopRequest
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.execution.hosts import Hosts
from multimodal_algo.execution.roles import Lead, follow
from multimodal_algo.sagemaker.config import (
    channel_path,
    instance_type,
    is_sharded,
    read_hosts,
    read_hyperparameters,
    train_path,
    unused_channels,
)
from multimodal_algo.sagemaker.devices import Devices, Host, find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.paths import MLPaths
from multimodal_algo.sagemaker.settings import Settings, ml_paths
from multimodal_algo.sagemaker.stop import exit_on_sigterm

if TYPE_CHECKING:
    from multimodal_algo.execution.protocol import Executor
    from multimodal_algo.training.rows import ChannelPaths

_LOG = logging.getLogger(__name__)

# API: FailureReason has at most 1,024 characters.
_FAILURE_CHARACTERS = 1024
# The text of another library's error may be of any length.
_DETAIL_CHARACTERS = 400
# The platform sends SIGKILL 120 s after SIGTERM.
_FLUSH_S = 90


def run_training() -> int:
    """Run this host's part of a training job. ``SAGEMAKER_BASE_DIR`` names the directory of the platform's files.

    If the job fails, all hosts fail together and with the same reason.

    Returns
    -------
    int
        The exit code: 0 for success. After 1, the file ``output/failure`` has the reason: a sentence about a user's
        mistake, or the type of an unexpected error, whose traceback is in the log.
    """
    ending = _Ending(ml_paths(os.environ))
    exit_on_sigterm(ending.stop_early)
    devices = find_devices(host=Host.TRAINING, instance_type=instance_type(ending.paths))
    _LOG.info("%s", devices.summary)
    reason = _reason_of(lambda: _run(ending, devices))
    if reason is None:
        return 0
    _LOG.error("%s", reason)
    ending.write_failure(reason)
    return 1


def _run(ending: _Ending, devices: Devices) -> None:
    paths = ending.paths
    host = _Host(paths, Settings.from_environment(), devices, read_hosts(paths))
    if host.hosts.leads:
        _LeadingHost(host, ending).run()
    else:
        follow(host.hosts, host.usable_gpus, host.settings.hosts_timeout_s, on_end=ending.finish)


def _reason_of(step: Callable[[], None]) -> str | None:
    """Run `step`. Return the reason if it fails, and None if it succeeds."""
    try:
        step()
    except Stopped:
        threading.Event().wait()  # The thread that received SIGTERM ends the process.
    except (UserError, PlatformError) as error:
        return str(error)
    except Exception as error:
        _LOG.exception("training failed: a bug")
        detail = f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]
        return f"Internal error ({detail}). The log has the details."
    return None


class _Ending:
    """The end of the job on this host: it writes the failure file, and handles SIGTERM (the platform's signal to stop).

    Parameters
    ----------
    paths
        Paths of the platform's files. A failure file of a previous job is removed.
    """

    def __init__(self, paths: MLPaths) -> None:
        self.paths = paths
        self.stop = StopRequest()
        self._is_over = threading.Event()
        with contextlib.suppress(OSError):  # a read-only volume
            paths.failure.unlink(missing_ok=True)

    def finish(self, reason: str | None) -> None:
        """Record that the job has ended. `reason` says why it failed, or is None."""
        if reason is not None:
            self.write_failure(reason)
        self._is_over.set()

    def stop_early(self) -> None:
        """Save the state and end the process, when SIGTERM arrives."""
        if self._is_over.is_set():
            # The platform stops a host whose job has ended when another host's program ends first. This is not a
            # failure.
            os._exit(1 if self.paths.failure.exists() else 0)
        self.stop.ask(_FLUSH_S)
        _LOG.warning("stopped by SIGTERM. A job that starts with these checkpoints continues from its finished parts")
        self.write_failure("Stopped by SIGTERM before the artifact was whole. Finished parts are in the checkpoints.")
        logging.shutdown()

    def write_failure(self, reason: str) -> None:
        """Write the failure file. If the disk does not take it, only the log has the reason."""
        text = failure_text(reason)
        try:
            self.paths.failure.parent.mkdir(parents=True, exist_ok=True)
            self.paths.failure.write_text(text, encoding="utf-8")
        except OSError as error:
            _LOG.error("the failure file cannot be written (%s)", error)


def failure_text(reason: str) -> str:
    """Return the content of the failure file: the reason on one line of at most 1,024 characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in reason).split())
    return line if len(line) <= _FAILURE_CHARACTERS else f"{line[: _FAILURE_CHARACTERS - 1]}…"


@dataclass(frozen=True)
class _Host:
    """The host on which this program runs, as one of the hosts of the job.

    Parameters
    ----------
    paths
        Paths of the platform's files.
    settings
        Settings from the environment variables.
    devices
        GPUs of this host.
    hosts
        All hosts of the job.
    """

    paths: MLPaths
    settings: Settings
    devices: Devices
    hosts: Hosts

    @property
    def is_alone(self) -> bool:
        """Whether the job has only one host."""
        return not self.hosts.others

    def usable_gpus(self) -> int:
        """Return the number of GPUs on this host that training can use.

        Raises
        ------
        PlatformError
            A GPU of this host cannot be used, and the environment does not allow training on the CPU instead.
        """
        require_usable(self.devices, allow_cpu_fallback=self.settings.allow_cpu_fallback)
        return 0 if self.devices.problem else self.devices.gpus


class _LeadingHost:
    """The first host of the job. It leads the training, and reports the end of the job to the other hosts."""

    def __init__(self, host: _Host, ending: _Ending) -> None:
        self._host, self._ending = host, ending
        self._lead: Lead | None = None

    def run(self) -> None:
        """Train, then end the job on all hosts.

        Raises
        ------
        PlatformError
            The job failed. The message is the reason.
        """
        self._answer_other_hosts()
        reason = self._with_host_name(_reason_of(self._train))
        self._ending.finish(reason)
        if self._lead is not None:
            self._lead.end(reason)
        if reason is not None:
            raise PlatformError(reason)

    def _answer_other_hosts(self) -> None:
        if not self._host.is_alone:
            hosts = self._host.hosts
            self._lead = Lead(hosts)
            _LOG.info("hosts: this is %s, which leads, of %s", hosts.current, hosts.summary())

    def _train(self) -> None:
        paths, settings, devices = self._host.paths, self._host.settings, self._host.devices
        gpus = self._host.usable_gpus()
        hyperparameters = read_hyperparameters(paths)
        Customisation.of(hyperparameters)  # refuses unknown keys before other hosts are waited for
        train_data = train_path(paths)
        default = "" if hyperparameters.sets_budget else ", since neither n_hours, n_mins nor n_secs is set"
        _LOG.info(
            "training: quality %s, %g s for fitting%s", hyperparameters.quality, hyperparameters.budget_s, default
        )
        _warn_of_unused_channels(paths)
        require_torch_sees_gpus(devices, allow_cpu_fallback=settings.allow_cpu_fallback)
        channels = _channel_paths(paths, train_data)
        # Everything that can be wrong on this host is checked before it waits for the other hosts.
        require_possible(hyperparameters, _job_input(self._host, channels))
        executor = self._executor(hyperparameters, gpus)
        _train(self._host, channels, hyperparameters, self._ending.stop, executor)

    def _executor(self, hyperparameters: HyperParameters, gpus: int) -> Executor | None:
        """Return an executor for all hosts and GPUs. Return None if this process trains alone."""
        if hyperparameters.distribution != "auto":
            return None
        if self._host.is_alone and gpus < 2:
            return None
        self._lead = self._lead or Lead(self._host.hosts)
        return self._lead.executor(gpus, self._host.settings.hosts_timeout_s)

    def _with_host_name(self, reason: str | None) -> str | None:
        """Return the reason with the name of this host in front, unless it already names a host."""
        if reason is None or self._lead is None:
            return reason
        hosts = self._host.hosts
        has_name = reason.startswith(tuple(f"{name}: " for name in hosts.names))
        return reason if has_name else f"{hosts.current}: {reason}"


def _channel_paths(paths: MLPaths, train_data: Path) -> ChannelPaths:
    from multimodal_algo.training.rows import ChannelPaths

    return ChannelPaths(
        train_data,
        validation=channel_path(paths, VALIDATION),
        images=channel_path(paths, IMAGES),
        model=channel_path(paths, MODEL),
        pretrained=channel_path(paths, PRETRAINED),
    )


def _train(
    host: _Host, channels: ChannelPaths, hyperparameters: HyperParameters, stop: StopRequest, executor: Executor | None
) -> None:
    from multimodal_algo.training.job import JobDirectories, train

    paths = host.paths
    directories = JobDirectories(host.settings.weights_dir, paths.checkpoints, paths.model, paths.output_data)
    train(channels, hyperparameters, directories, stop=stop, executor=executor)


def _warn_of_unused_channels(paths: MLPaths) -> None:
    for name in unused_channels(paths):
        _LOG.warning("the channel '%s' is not used. Training reads %s", name, channel_names())


def _job_input(host: _Host, channels: ChannelPaths) -> JobInput:
    paths = {name: path for name, path in asdict(channels).items() if path is not None}
    return JobInput(
        channels=frozenset(paths),
        piped=frozenset(name for name, path in paths.items() if path.is_fifo()),
        sharded=frozenset(channel.name for channel in (TRAIN, VALIDATION) if is_sharded(host.paths, channel)),
        hosts=len(host.hosts.names),
    )
