"""The checkpoints of a job, from which a later start of the same job continues.

::

    state.json                 data, hyperparameters and versions of the job
    data/<channel>/            ingested rows
    teacher/                   predictions of the teacher for these rows, if the job has a teacher
    models/<branch>/           a fitted model as in the artifact, and its out-of-fold votes
    fitting/<branch>/<part>/   finished parts of a long fit, and the state of the running part
    fusion/                    the fusion, and its held-out predictions

Each part is written under a temporary name and then renamed. Its ``whole.json`` lists its files with their SHA-256. So
a job that is killed at any moment leaves only whole parts. The platform copies the files one by one to S3, and leaves
marker files next to them. So a part with missing files counts as not saved, and only listed files are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from multimodal_algo.artifact import current_versions
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.checkpointing import Write
from multimodal_algo.core.disks import write_into
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256

_LOG = logging.getLogger(__name__)

_STATE = "state.json"
_WHOLE = "whole.json"
# The platform's uploader skips names that end with the first one. It leaves marker files that end with the other two.
_ASIDE = ".sagemaker-ignore"
_UPLOADING, _UPLOADED = ".sagemaker-uploading", ".sagemaker-uploaded"
_PARTS = ("data", "teacher", "models", "fitting", "fusion")
# Hyperparameters that do not change the content of checkpoints.
_NO_DIFFERENCE = {"on_checkpoint_mismatch", "distribution"}
_RESTART = "Use an empty checkpoint location, or set on_checkpoint_mismatch=restart."


class Checkpoints:
    """The finished parts of a job (rows, partial models, fusion) in the checkpoint directory.

    It is a `CheckpointStore`.

    Parameters
    ----------
    directory
        Checkpoint directory, which the platform copies to S3.
    job
        Digest of the job's data, hyperparameters and versions. Parts with another digest belong to another job.
    may_drop
        Whether damaged or foreign parts are deleted. Otherwise they end the job with an error.
    """

    def __init__(self, directory: Path, job: str, *, may_drop: bool) -> None:
        self._directory = directory
        self._job = job
        self._may_drop = may_drop

    @classmethod
    def open(cls, directory: Path, data: Mapping[str, str], hyperparameters: HyperParameters) -> Checkpoints:
        """Open the checkpoints in `directory` for a job with this data and these hyperparameters.

        Parameters
        ----------
        directory
            Checkpoint directory of the platform. It is created if it does not exist.
        data
            A digest of each channel.
        hyperparameters
            Hyperparameters of the job.

        Raises
        ------
        UserError
            The directory holds other files. Or it holds checkpoints of a job with other data, hyperparameters or
            versions, and ``on_checkpoint_mismatch`` does not allow their deletion.
        """
        state = {
            "data": dict(data),
            "hyperparameters": hyperparameters.model_dump(mode="json", exclude=_NO_DIFFERENCE),
            "versions": current_versions(),
        }
        text = json.dumps(state, indent=2, sort_keys=True) + "\n"
        job = hashlib.sha256(text.encode()).hexdigest()
        checkpoints = cls(directory, job, may_drop=hyperparameters.on_checkpoint_mismatch == "restart")
        directory.mkdir(parents=True, exist_ok=True)
        if foreign := [path.name for path in sorted(directory.iterdir()) if not _is_ours(path.name)]:
            raise UserError(
                f"{directory}: '{foreign[0]}' is not a checkpoint of this algorithm. Use an empty checkpoint location."
            )
        # A job that failed on its data has saved nothing, so the next one may have other hyperparameters.
        problem = _problem(directory / _STATE, state) if any(directory.rglob(_WHOLE)) else None
        if problem:
            checkpoints.mismatch(problem)
        for aside in [path for path in directory.rglob(f"*{_ASIDE}") if path.is_dir()]:
            _delete(aside)  # a killed job was writing it
        _write_whole(directory / _STATE, text)
        return checkpoints

    def mismatch(self, problem: str) -> None:
        """Delete all parts because they belong to another job. If that is not allowed, end this job with an error.

        Raises
        ------
        UserError
            Deletion is not allowed. The message has `problem` and what to do.
        """
        if not self._may_drop:
            raise UserError(f"{self._directory}: {problem}. {_RESTART}")
        _LOG.warning("checkpoints: %s. They are dropped", problem)
        for name in _PARTS:
            _delete(self._directory / name)

    def find(self, name: str) -> Path | None:
        """Return the directory of a finished part, or None if it is not there, see `CheckpointStore.find`.

        Raises
        ------
        UserError
            The part is damaged, or it belongs to another job.
        """
        part = self._directory / name
        try:
            whole = json.loads((part / _WHOLE).read_text(encoding="utf-8"))
            files = {str(file): str(digest) for file, digest in whole["files"].items()}
            job = whole["job"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            self._refuse(name, f"{name}/{_WHOLE} cannot be read")
            return None
        if job != self._job:
            self._refuse(name, f"{name} is of another job")
            return None
        if not all((part / file).is_file() for file in files):
            _LOG.info("checkpoints: %s did not arrive whole. It is made again", name)
            return None
        for file, digest in files.items():
            if sha256(part / file) != digest:
                self._refuse(name, f"{name}/{file} is damaged")
                return None
        return part

    def _refuse(self, name: str, problem: str) -> None:
        if not self._may_drop:
            raise UserError(f"{self._directory}: {problem}. {_RESTART}")
        _LOG.warning("checkpoints: %s. It is dropped", problem)
        _delete(self._directory / name)

    def save(self, name: str, write: Write, *, seconds: float = 0.0, used_s: float = 0.0) -> Path:
        """Save a finished part and return its directory, see `CheckpointStore.save`.

        Parameters
        ----------
        name, write
            See `CheckpointStore.save`.
        seconds
            Seconds that the part took, which `spent_s` returns later.
        used_s
            Seconds of the budget that the job had used at that time, which `used_s` returns later.
        """
        part = self._directory / name
        aside = part.with_name(part.name + _ASIDE)

        def write_whole(target: Path) -> None:
            write(target)
            files = {
                path.relative_to(target).as_posix(): sha256(path)
                for path in sorted(target.rglob("*"))
                if path.is_file()
            }
            whole = {"job": self._job, "seconds": round(seconds, 3), "used_s": round(used_s, 3), "files": files}
            (target / _WHOLE).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")

        write_into(aside, write_whole, f"the checkpoint {name}", self._directory)
        _delete(part)
        os.replace(aside, part)
        return part

    def names(self, under: str) -> list[str]:
        """Return the names of all finished parts in the folder `under`, see `CheckpointStore.names`."""
        parent = self._directory / under
        if not parent.is_dir():
            return []
        return sorted(path.name for path in parent.iterdir() if (path / _WHOLE).is_file())

    def drop(self, name: str) -> None:
        """Delete a part, see `CheckpointStore.drop`.

        A part that the platform is uploading stays until the next call.
        """
        part = self._directory / name
        if not any(not path.with_suffix(_UPLOADED).exists() for path in part.rglob(f"*{_UPLOADING}")):
            _delete(part)

    def scoped(self, name: str, used_s: float) -> ScopedCheckpoints:
        """Return the store for the parts of one fit. Their names begin with `name`.

        Parameters
        ----------
        name
            Name of the fit.
        used_s
            Seconds of the budget that the job has used before the fit.
        """
        return ScopedCheckpoints(self, name, used_s)

    def spent_s(self, name: str) -> float:
        """Return how many seconds the part `name` took. If `name` is a folder of parts, return the longest time."""
        paths = (self._directory / name).rglob(_WHOLE)
        return max([0.0, *(_number(path, "seconds") for path in paths)])

    def used_s(self, names: Iterable[str]) -> float:
        """Return how many seconds of the budget the job had used when it saved the last of these parts."""
        return max([0.0, *(_number(self._directory / name / _WHOLE, "used_s") for name in names)])


class ScopedCheckpoints:
    """The checkpoints of one fit: the parts whose names begin with a given name. It is a `CheckpointStore`.

    Each part stores how many seconds the fit has taken up to this part, over all starts of the job. The object can be
    pickled, to be used in another process of the same host.

    Parameters
    ----------
    checkpoints
        All parts of the job.
    name
        Name of the fit.
    used_s
        Seconds of the budget that the job has used before the fit.
    """

    def __init__(self, checkpoints: Checkpoints, name: str, used_s: float) -> None:
        self._checkpoints = checkpoints
        self._name = name
        # The job has already counted the finished parts of previous starts, but not the state of a running part.
        counted = max([0.0, *(checkpoints.spent_s(f"{name}/{part}") for part in checkpoints.names(name))])
        self._before_s = used_s - counted
        self._started = time.monotonic() - checkpoints.spent_s(name)

    @property
    def spent_s(self) -> float:
        """Seconds that the fit has taken so far, over all starts of the job."""
        return time.monotonic() - self._started

    @property
    def used_s(self) -> float:
        """Seconds of the budget that the job has used so far, over all its starts."""
        return self._before_s + self.spent_s

    def find(self, name: str) -> Path | None:
        """Return the directory of a finished part of the fit, or None, see `CheckpointStore.find`."""
        return self._checkpoints.find(f"{self._name}/{name}")

    def save(self, name: str, write: Write) -> Path:
        """Save a finished part of the fit, see `CheckpointStore.save`."""
        return self._checkpoints.save(f"{self._name}/{name}", write, seconds=self.spent_s, used_s=self.used_s)

    def names(self, under: str) -> list[str]:
        """Return the names of the finished parts of the fit, see `CheckpointStore.names`."""
        return self._checkpoints.names(f"{self._name}/{under}")

    def drop(self, name: str) -> None:
        """Delete a part of the fit, see `CheckpointStore.drop`."""
        self._checkpoints.drop(f"{self._name}/{name}")


def _problem(path: Path, state: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return how the job that the file `path` describes differs from the job `state`.

    Return None if it is the same job.

    A missing file is not a problem, because each part of the checkpoints names its job too.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        saved = None
    if not isinstance(saved, dict) or not all(isinstance(saved.get(name), dict) for name in state):
        return f"{_STATE} is damaged"
    differing = [
        f"{name} ({', '.join(keys)})"
        for name in state
        if (keys := sorted(k for k in {*state[name], *saved[name]} if state[name].get(k) != saved[name].get(k)))
    ]
    return f"these checkpoints are of a job with other {' and '.join(differing)}" if differing else None


def _number(path: Path, key: str) -> float:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8"))[key])
    return 0.0


def _is_ours(name: str) -> bool:
    return name in (_STATE, *_PARTS, "lost+found") or name.startswith(".") or ".sagemaker-" in name


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_name(path.name + _ASIDE)
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
