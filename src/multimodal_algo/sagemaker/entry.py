"""``train`` as the platform starts it: read the config files, train, and leave a failure file if that fails."""

from __future__ import annotations

import logging
import os
import threading

from multimodal_algo.errors import PlatformError, UserError
from multimodal_algo.keeping import Stopped, StopRequest
from multimodal_algo.sagemaker.config import (
    IMAGES_CHANNEL,
    MODEL_CHANNEL,
    PRETRAINED_CHANNEL,
    VALIDATION_CHANNEL,
    channel_path,
    read_hyperparameters,
    train_channel,
    unused_channels,
)
from multimodal_algo.sagemaker.devices import find_devices, require_torch_sees_gpus, require_usable
from multimodal_algo.sagemaker.paths import MLPaths
from multimodal_algo.sagemaker.settings import Settings, ml_paths
from multimodal_algo.sagemaker.stop import exit_on_sigterm

_LOG = logging.getLogger(__name__)

# API: FailureReason has at most 1,024 characters.
_FAILURE_CHARACTERS = 1024
# The platform sends SIGKILL 120 s after SIGTERM.
_FLUSH_S = 90


def run_training() -> int:
    """Run the training job of the platform's tree, as the process's environment says.

    Returns
    -------
    int
        The exit code: 0, or 1 with the reason in ``output/failure``. A user's mistake leaves one sentence; a bug
        leaves its type, and its traceback in the log.
    """
    paths = ml_paths(os.environ)
    paths.failure.unlink(missing_ok=True)
    stop = StopRequest()
    exit_on_sigterm(lambda: _stop(stop, paths))
    devices = find_devices()
    _LOG.info("%s", devices.summary)
    try:
        settings = Settings.from_environment()
        require_usable(devices, allow_cpu_fallback=settings.allow_cpu_fallback)
        hyperparameters = read_hyperparameters(paths)
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
        )
    except Stopped:
        threading.Event().wait()  # the thread that was told of the signal ends the process
    except (UserError, PlatformError) as error:
        _LOG.error("%s", error)
        _write_failure(paths, str(error))
        return 1
    except Exception as error:
        _LOG.exception("training failed: a bug")
        _write_failure(paths, f"Internal error ({type(error).__name__}: {error}). The log has the details.")
        return 1
    return 0


def _stop(stop: StopRequest, paths: MLPaths) -> None:
    stop.ask(_FLUSH_S)
    _LOG.warning("stopped by SIGTERM; a job that starts with these checkpoints goes on with what is finished")
    _write_failure(paths, "Stopped by SIGTERM before the artifact was whole. Finished parts are in the checkpoints.")
    logging.shutdown()


def _write_failure(paths: MLPaths, reason: str) -> None:
    paths.failure.parent.mkdir(parents=True, exist_ok=True)
    paths.failure.write_text(reason[:_FAILURE_CHARACTERS], encoding="utf-8")
