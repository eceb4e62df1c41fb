"""The simulator keeps the platform's rules, shown with a stand-in algorithm over real processes and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.local import (
    AssembleWith,
    BatchStrategy,
    ChannelData,
    TrainingJob,
    TransformSettings,
    train,
    transform,
)
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.training import pack

STAND_IN = ProcessRunner((sys.executable, str(Path(__file__).with_name("stand_in.py"))))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "x").write_text("x")
    return pack(directory, tmp_path / "model.tar.gz")


def behaviour(**settings: Any) -> dict[str, str]:
    return {"STAND_IN": json.dumps(settings)}


def answers(model: Path, body: bytes, job: TransformSettings, tmp_path: Path) -> bytes:
    (tmp_path / "lines.csv").write_bytes(body)
    (out,) = transform(model, tmp_path / "lines.csv", job, output=tmp_path / "out", runner=STAND_IN)
    assert out.name == "lines.csv.out"
    return out.read_bytes()


def test_training_leaves_the_archive_and_the_output(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x")
    archive = train(
        TrainingJob({"train": ChannelData(tmp_path / "train.csv")}), output=tmp_path / "job", runner=STAND_IN
    )
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["weights", "weights/w.bin"]
    assert (tmp_path / "job/output/data/metrics.json").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure": "x" * 2000}, "x" * 1024),
        ({"failure": "no label"}, "no label"),
        ({"exit": 9}, "exited with code 9 and left no failure file"),
    ],
)
def test_a_failed_training_job_tells_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps(settings))
    (tmp_path / "train.csv").write_text("x")
    with pytest.raises(UserError) as caught:
        train(TrainingJob({"train": ChannelData(tmp_path / "train.csv")}), output=tmp_path / "job", runner=STAND_IN)
    assert message in str(caught.value)
    assert len(str(caught.value)) <= 1024
    assert not (tmp_path / "job/model.tar.gz").exists()


def test_checkpoints_are_the_jobs_from_its_start_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.csv").write_text("x")
    job = TrainingJob({"train": ChannelData(tmp_path / "train.csv")}, checkpoints=tmp_path / "not/there/yet")
    for name, found in (("first", []), ("second", ["first"])):
        monkeypatch.setenv("STAND_IN", json.dumps({"checkpoint": name}))
        log: list[str] = []
        train(job, output=tmp_path / "job", runner=STAND_IN, log=log.append)
        assert f"found {found}\n" in log
    assert sorted(path.name for path in (tmp_path / "not/there/yet").iterdir()) == ["first", "second"]


def test_a_failed_job_leaves_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"checkpoint": "part", "failure": "no label"}))
    (tmp_path / "train.csv").write_text("x")
    job = TrainingJob({"train": ChannelData(tmp_path / "train.csv")}, checkpoints=tmp_path / "kept")
    with pytest.raises(UserError, match="no label"):
        train(job, output=tmp_path / "job", runner=STAND_IN)
    assert (tmp_path / "kept/part").read_text() == "kept"


@pytest.mark.parametrize("checkpoints", [None, "kept"])
def test_a_stopped_job_says_where_its_parts_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: str | None
) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"checkpoint": "part", "hang": True}))
    (tmp_path / "train.csv").write_text("x")
    kept = None if checkpoints is None else tmp_path / checkpoints
    job = TrainingJob({"train": ChannelData(tmp_path / "train.csv")}, checkpoints=kept)

    def stop(line: str) -> None:
        if line.startswith("hanging"):
            os.kill(os.getpid(), signal.SIGTERM)

    place = kept or tmp_path / "job/checkpoints"
    with pytest.raises(UserError, match=f"checkpoints are in {place}. .* with --checkpoints {place}"):
        train(job, output=tmp_path / "job", runner=STAND_IN, log=stop)
    assert (place / "part").read_text() == "kept"


def test_what_was_kept_is_there_after_sigkill_and_the_program_ends_too(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x")
    code = (
        "import sys; from pathlib import Path; from multimodal_algo.local import ChannelData, TrainingJob, train\n"
        "from multimodal_algo.local.runner import ProcessRunner\n"
        "job = TrainingJob({'train': ChannelData(Path('train.csv'))}, checkpoints=Path('kept'))\n"
        "train(job, output=Path('job'), runner=ProcessRunner(tuple(sys.argv[1:])))"
    )
    environment = {**os.environ, "STAND_IN": json.dumps({"checkpoint": "part", "hang": True}), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, *STAND_IN.command],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
    ) as job:  # fmt: skip
        assert job.stdout is not None
        line = next(line for line in job.stdout if line.startswith("hanging"))
        job.send_signal(signal.SIGKILL)
    assert (tmp_path / "kept/part").read_text() == "kept"
    if sys.platform == "linux":
        assert is_gone(int(line.split()[1]))


def is_gone(number: int, patience_s: float = 10) -> bool:
    """Whether a process ends within a time; one that nobody has waited for has ended, too."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if ") Z " in Path(f"/proc/{number}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_headers_reach_the_server_and_lines_come_back_in_order(model: Path, tmp_path: Path) -> None:
    job = TransformSettings(
        content_type="text/csv; charset=utf-8", accept="text/csv", strategy=BatchStrategy.SINGLE_RECORD
    )
    found = answers(model, b"a\nb\nc", job, tmp_path)
    head = b"text/csv; charset=utf-8|text/csv|1:"
    assert found == head + b"a\n" + head + b"b\n" + head + b"c\n"


def test_without_settings_the_servers_execution_parameters_hold(model: Path, tmp_path: Path) -> None:
    # Each request waits until two are under way: one at a time would never end.
    env = behaviour(parameters={"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 1}, meet=2)
    lines = [str(n).encode() * 250_000 for n in range(4)] * 2
    found = answers(model, b"\n".join(lines) + b"\n", TransformSettings(env=env), tmp_path)
    assert [line.rpartition(b":")[2] for line in found.splitlines()] == lines
    assert b"|4:" in found.splitlines()[0]


def test_the_jobs_settings_come_before_the_servers(model: Path, tmp_path: Path) -> None:
    env = behaviour(parameters={"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 1}, meet=2)
    job = TransformSettings(max_concurrent_transforms=2, strategy=BatchStrategy.SINGLE_RECORD, env=env)
    found = answers(model, b"a\nb\n", job, tmp_path)
    assert [line[-1:] for line in found.splitlines()] == [b"a", b"b"]


def test_limits_are_in_the_environment_only_where_the_job_sets_them(model: Path, tmp_path: Path) -> None:
    answers(model, b"a\n", TransformSettings(), tmp_path)
    plain = (tmp_path / "out/serve.log").read_text()
    assert '"SAGEMAKER_BATCH": "true"' in plain
    assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" not in plain
    job = TransformSettings(strategy=BatchStrategy.SINGLE_RECORD, max_payload_mb=3, max_concurrent_transforms=2)
    answers(model, b"a\n", job, tmp_path)
    log = (tmp_path / "out/serve.log").read_text()
    assert '"SAGEMAKER_MAX_PAYLOAD_IN_MB": "3"' in log
    assert '"SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD"' in log
    assert '"SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "2"' in log


def test_server_errors_are_retried(model: Path, tmp_path: Path) -> None:
    assert answers(model, b"a\n", TransformSettings(env=behaviour(fail_first=3)), tmp_path).endswith(b":a\n")
    with pytest.raises(UserError, match="HTTP 500: not yet"):
        answers(model, b"a\n", TransformSettings(env=behaviour(fail_first=4)), tmp_path)


@pytest.mark.parametrize(("line", "message"), [(b"refuse", "HTTP 400: line 1 is bad"), (b"die", "exited with code 7")])
def test_a_failed_payload_costs_its_file_and_no_other(model: Path, tmp_path: Path, line: bytes, message: str) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"1\n")
    (folder / "deep/b.csv").write_bytes(b"1\n" + line + b"\n")
    with pytest.raises(UserError) as caught:
        transform(
            model,
            folder,
            TransformSettings(strategy=BatchStrategy.SINGLE_RECORD),
            output=tmp_path / "out",
            runner=STAND_IN,
        )
    assert "deep/b.csv, payload from line 2" in str(caught.value)
    assert message in str(caught.value)
    assert (tmp_path / "out/a.csv.out").is_file()
    assert list((tmp_path / "out/deep").iterdir()) == []


def test_assembly_by_line_adds_a_newline_where_an_answer_lacks_it(model: Path, tmp_path: Path) -> None:
    single = BatchStrategy.SINGLE_RECORD
    env = behaviour(no_final_newline=True)
    assert answers(model, b"a\nb\n", TransformSettings(strategy=single, env=env), tmp_path).count(b"\n") == 2
    glued = answers(
        model, b"a\nb\n", TransformSettings(strategy=single, env=env, assemble_with=AssembleWith.NONE), tmp_path
    )
    assert glued.count(b"\n") == 0


def test_an_empty_file_gives_an_empty_output(model: Path, tmp_path: Path) -> None:
    assert answers(model, b"", TransformSettings(), tmp_path) == b""


def test_a_server_that_exits_is_reported_with_its_last_words(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exited with code 3 before it was healthy\.\n    the model is broken"):
        answers(model, b"a\n", TransformSettings(env=behaviour(broken=True)), tmp_path)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (TransformSettings(max_payload_mb=101), "MaxPayloadInMB is 101"),
        (TransformSettings(max_payload_mb=60, max_concurrent_transforms=2), "is more than 100"),
    ],
)
def test_settings_beyond_the_platforms_limits_are_refused(
    model: Path, tmp_path: Path, job: TransformSettings, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        answers(model, b"a\n", job, tmp_path)


def test_an_archive_that_is_none_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be extracted as a model archive"):
        answers(tmp_path / "model.tar.gz", b"a\n", TransformSettings(), tmp_path)
