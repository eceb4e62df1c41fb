"""What a stopped job leaves so that the next one goes on.

::

    state.json                   what the job was given: data, hyperparameters, versions
    data/<channel>/              the ingested rows
    teacher/                     what the teacher says of them, where there is one
    models/<modality>/           a fitted model as in the artifact, and its out-of-fold vectors
    fitting/<modality>/<part>/   what a long fit has done so far
    fusion/                      the fusion, and its held-out answers

Each part is written aside and renamed, with `whole.json` naming its files and their SHA-256: a job killed at any
instant leaves only whole parts. The platform copies file by file to S3 and leaves marker files beside them, so a part
of which files are missing is not there yet, and only files that `whole.json` names are looked at.
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
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256

_LOG = logging.getLogger(__name__)

_STATE = "state.json"
_WHOLE = "whole.json"
# The platform's uploader passes over names that end so, and leaves files that end like the others.
_ASIDE = ".sagemaker-ignore"
_UPLOADING, _UPLOADED = ".sagemaker-uploading", ".sagemaker-uploaded"
_PARTS = ("data", "teacher", "models", "fitting", "fusion")
# Hyperparameters that change nothing of what is kept.
_NO_DIFFERENCE = {"on_checkpoint_mismatch", "distribution"}
_RESTART = "Use an empty checkpoint location, or set on_checkpoint_mismatch=restart."


class Checkpoints:
    """Parts of a job's work in the platform's checkpoint directory; a `keeping.CheckpointStore`.

    Parameters
    ----------
    directory
        The platform's.
    job
        Digest of what the job was given: parts of any other job are none of this one.
    may_drop
        Whether damaged parts are dropped; else they end the job.
    """

    def __init__(self, directory: Path, job: str, *, may_drop: bool) -> None:
        self._directory = directory
        self._job = job
        self._may_drop = may_drop

    @classmethod
    def open(cls, directory: Path, data: Mapping[str, str], hyperparameters: HyperParameters) -> Checkpoints:
        """Use `directory` for a job with this data and these hyperparameters.

        Parameters
        ----------
        directory
            The platform's; made when missing.
        data
            A digest of each channel.
        hyperparameters
            Of the job.

        Raises
        ------
        UserError
            The directory holds something else than checkpoints, or those of a job that was given something else, and
            ``on_checkpoint_mismatch`` does not let them be dropped.
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
                f"{directory}: '{foreign[0]}' is no checkpoint of this algorithm. Use an empty checkpoint location."
            )
        # A job that failed on its data kept nothing: the next may have other hyperparameters.
        problem = _problem(directory / _STATE, state) if any(directory.rglob(_WHOLE)) else None
        if problem:
            checkpoints.mismatch(problem)
        for aside in [path for path in directory.rglob(f"*{_ASIDE}") if path.is_dir()]:
            _delete(aside)  # what a killed job was writing
        _write_whole(directory / _STATE, text)
        return checkpoints

    def mismatch(self, problem: str) -> None:
        """End the job, or drop all parts, since the checkpoints are not its own.

        Raises
        ------
        UserError
            With `problem` and the remedies.
        """
        if not self._may_drop:
            raise UserError(f"{self._directory}: {problem}. {_RESTART}")
        _LOG.warning("checkpoints: %s; they are dropped", problem)
        for name in _PARTS:
            _delete(self._directory / name)

    def find(self, name: str) -> Path | None:
        """See `keeping.CheckpointStore.find`.

        Raises
        ------
        UserError
            The part is damaged, or of another job.
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
            _LOG.info("checkpoints: %s did not arrive whole; it is made again", name)
            return None
        for file, digest in files.items():
            if sha256(part / file) != digest:
                self._refuse(name, f"{name}/{file} is damaged")
                return None
        return part

    def _refuse(self, name: str, problem: str) -> None:
        if not self._may_drop:
            raise UserError(f"{self._directory}: {problem}. {_RESTART}")
        _LOG.warning("checkpoints: %s; it is dropped", problem)
        _delete(self._directory / name)

    def keep(self, name: str, write: Write, *, seconds: float = 0.0, used_s: float = 0.0) -> Path:
        """See `keeping.CheckpointStore.keep`.

        `seconds` is what it took, for `spent_s`; `used_s` what the job had used of its budget by then, for `used_s`.
        """
        part = self._directory / name
        aside = part.with_name(part.name + _ASIDE)
        _delete(aside)
        aside.mkdir(parents=True)
        write(aside)
        files = {
            path.relative_to(aside).as_posix(): sha256(path) for path in sorted(aside.rglob("*")) if path.is_file()
        }
        whole = {"job": self._job, "seconds": round(seconds, 3), "used_s": round(used_s, 3), "files": files}
        (aside / _WHOLE).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        _delete(part)
        os.replace(aside, part)
        return part

    def names(self, under: str) -> list[str]:
        """See `keeping.CheckpointStore.names`."""
        parent = self._directory / under
        if not parent.is_dir():
            return []
        return sorted(path.name for path in parent.iterdir() if (path / _WHOLE).is_file())

    def drop(self, name: str) -> None:
        """See `keeping.CheckpointStore.drop`. Files that the platform is uploading stay until the next time."""
        part = self._directory / name
        if not any(not path.with_suffix(_UPLOADED).exists() for path in part.rglob(f"*{_UPLOADING}")):
            _delete(part)

    def below(self, name: str, used_s: float) -> ScopedCheckpoints:
        """The keeper of a fit whose parts lie below `name`, begun when the job had used `used_s` of its budget."""
        return ScopedCheckpoints(self, name, used_s)

    def spent_s(self, name: str) -> float:
        """What the longest of the parts `name` and below took, in seconds; see `keep`."""
        paths = (self._directory / name).rglob(_WHOLE)
        return max([0.0, *(_number(path, "seconds") for path in paths)])

    def used_s(self, names: Iterable[str]) -> float:
        """What the job had used of its budget when it kept the last of some parts, in seconds; see `keep`."""
        return max([0.0, *(_number(self._directory / name / _WHOLE, "used_s") for name in names)])


class ScopedCheckpoints:
    """Checkpoints of the parts below a name. Each remembers what the fit took up to it, over all starts.

    It can be pickled, for another process of the same host.
    """

    def __init__(self, checkpoints: Checkpoints, name: str, used_s: float) -> None:
        self._checkpoints = checkpoints
        self._name = name
        # Whole parts of earlier starts count as used already; the state of a running one does not.
        counted = max([0.0, *(checkpoints.spent_s(f"{name}/{part}") for part in checkpoints.names(name))])
        self._before_s = used_s - counted
        self._started = time.monotonic() - checkpoints.spent_s(name)

    @property
    def spent_s(self) -> float:
        """What the fit took so far, over all starts, in seconds."""
        return time.monotonic() - self._started

    @property
    def used_s(self) -> float:
        """What the job has used of its budget, in seconds."""
        return self._before_s + self.spent_s

    def find(self, name: str) -> Path | None:
        """See `keeping.CheckpointStore.find`."""
        return self._checkpoints.find(f"{self._name}/{name}")

    def keep(self, name: str, write: Write) -> Path:
        """See `keeping.CheckpointStore.keep`."""
        return self._checkpoints.keep(f"{self._name}/{name}", write, seconds=self.spent_s, used_s=self.used_s)

    def names(self, under: str) -> list[str]:
        """See `keeping.CheckpointStore.names`."""
        return self._checkpoints.names(f"{self._name}/{under}")

    def drop(self, name: str) -> None:
        """See `keeping.CheckpointStore.drop`."""
        self._checkpoints.drop(f"{self._name}/{name}")


def _problem(path: Path, state: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the job that `path` tells of is not the one of `state`; None where it is, or nothing is there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None  # each part tells its job
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in state):
        return f"{_STATE} is damaged"
    differing = [
        f"{name} ({', '.join(keys)})"
        for name in state
        if (keys := sorted(k for k in {*state[name], *found[name]} if state[name].get(k) != found[name].get(k)))
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
