"""Disks that are full, read-only or broken: one sentence with the volume, what was written, and what is missing."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from multimodal_algo.core.disks import failed_volume, may_fail, require_writable, write_into
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import move_files


def write(directory: Path) -> None:
    for name in "ab":
        (directory / name).write_bytes(bytes(60_000))


def test_a_full_volume_is_named_with_what_is_missing_and_keeps_nothing_half_written(volume: Path) -> None:
    with pytest.raises(UserError, match=rf"^{volume}: the artifact needs 0\.1 MB, and 54\.\d kB of that are missing\."):
        write_into(volume / ".incomplete", write, "the artifact", volume)
    assert not list(volume.iterdir())


def test_copies_are_checked_for_room_before_the_first_file_is_moved(volume: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    with pytest.raises(OSError, match="No space left"):
        move_files(source, volume)
    assert not list(volume.iterdir())
    assert len(list(source.iterdir())) == 2


def test_a_read_only_volume_is_refused_before_anything_is_written(volume: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    with pytest.raises(UserError, match=rf"^{volume}: checkpoints cannot be written: the volume is read-only"):
        require_writable(volume, "checkpoints")
    with pytest.raises(UserError, match="the volume is read-only"):
        require_writable(volume / "sub", "checkpoints")


def test_a_report_that_the_disk_does_not_take_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "report.html").symlink_to("/dev/full")
    with may_fail("report.html", tmp_path):
        (tmp_path / "report.html").write_text("a report")
    assert f"{tmp_path}: report.html cannot be written: the volume is full" in caplog.text
    assert not list(tmp_path.iterdir())


def test_errors_of_the_code_are_not_taken_for_those_of_a_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), may_fail("report.html", tmp_path):
        1 / 0  # noqa: B018
    assert failed_volume(ValueError("a bug"), {"the artifact": tmp_path}) is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EIO, "the disk fails (Input/output error). Start the job again, on another instance."),
        (errno.EDQUOT, "the volume is full"),
        (errno.EROFS, "the volume is read-only"),
        (errno.EACCES, f"cannot be read or written by user {os.getuid()}"),
    ],
)
def test_the_volume_of_the_file_is_named_however_a_library_reports_it(tmp_path: Path, number: int, reason: str) -> None:
    volumes = {"checkpoints": tmp_path / "checkpoints", "temporary files": tmp_path}
    file = tmp_path / "checkpoints/models/votes.npy"
    plain = OSError(number, os.strerror(number), str(file))
    sentence = failed_volume(plain, volumes)
    assert sentence is not None
    assert sentence.startswith(f"{tmp_path}/checkpoints: checkpoints (votes.npy) ")
    assert reason in sentence
    wrapped = RuntimeError("the network cannot be saved")
    wrapped.__cause__ = plain
    assert failed_volume(wrapped, volumes) == sentence


def test_an_input_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/opt/ml/input/data/train/part.csv")
    sentence = failed_volume(denied, {"the artifact": tmp_path})
    assert sentence is not None
    assert sentence.startswith("/opt/ml/input/data/train: the file (part.csv) cannot be read or written by user")
    broken = failed_volume(OSError(errno.EIO, os.strerror(errno.EIO)), {"the artifact": tmp_path})
    assert broken == "A disk of this machine fails (Input/output error). Start the job again, on another instance."
