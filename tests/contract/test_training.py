"""The platform's rules for ``train``, with the real program on a real tree."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import preloaded
import pytest
from small_job import PARAMETERS, WEIGHTS_DIR

from multimodal_algo.artifact import read_config
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.local.tree import ChannelData, build_training_tree

HEADER = ["ID", "a_text", "b_num", "p_image", "label"]


PROGRAM = [sys.executable, "-m", "multimodal_algo", "train"]


def environment(base: Path) -> dict[str, str]:
    return {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "WEIGHTS_DIR": str(WEIGHTS_DIR)}


def run_train(base: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(PROGRAM, env=environment(base), capture_output=True, text=True, check=False)


def reason_of(base: Path, code: int, output: str) -> str:
    """The failure file of a job that the user can fix, after a check of how the job ended."""
    assert code == 1, output
    assert "Traceback" not in output
    reason = (base / "output/failure").read_text(encoding="utf-8")
    assert 0 < len(reason) <= 1024
    assert not (base / "model/model_config.json").exists()
    return reason


def failed(base: Path) -> str:
    """Run a job that the user can fix, and return its failure file."""
    log = base.parent / "train.log"
    code = preloaded.run_train(environment(base), log)
    return reason_of(base, code, log.read_text(encoding="utf-8"))


def rows(count: int = 20) -> list[list[str]]:
    return [[str(n), f"text {n}", str(n), "", "ab"[n % 2]] for n in range(count)]


def tree(tmp_path: Path, data: bytes | list[list[str]], parameters: dict[str, str] | None = None) -> Path:
    path = tmp_path / "train.csv"
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(data)
    build_training_tree(tmp_path / "ml", {"train": ChannelData(path)}, parameters or {})
    return tmp_path / "ml"


def test_a_variable_that_cannot_be_read_fails_the_job_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_TIMEOUT_S", "soon")
    assert "MODEL_TIMEOUT_S is 'soon'" in failed(tree(tmp_path, [HEADER, *rows()]))


def test_no_hyperparameters_file_means_all_defaults(sample: Path, tmp_path: Path) -> None:
    # Text and numbers only: the default image backbone needs weights that a test machine may lack.
    header, *lines = list(csv.reader((sample / "train.csv").open(encoding="utf-8", newline="")))
    keep = [n for n, name in enumerate(header) if name in ("ID", "price_num", "colour_cat", "label")]
    base = tree(tmp_path, [[row[n] for n in keep] for row in [header, *lines[:60]]])
    (base / "input/config/hyperparameters.json").unlink()
    done = run_train(base)
    assert done.returncode == 0, done.stdout
    assert read_config(base / "model").hyperparameters == HyperParameters().model_dump()
    assert not (base / "output/failure").exists()
    metrics = json.loads((base / "output/data/metrics.json").read_text())
    assert f"validation:accuracy={metrics['fused']['accuracy']:.4f};" in done.stdout
    assert "\r" not in done.stdout
    held_out = list(csv.DictReader((base / "output/data/predictions.csv").open(encoding="utf-8", newline="")))
    assert sorted(row["ID"] for row in held_out) == sorted(line[header.index("ID")] for line in lines[:60])
    right = sum(row["label"] == row["predicted_label"] for row in held_out) / len(held_out)
    assert right == pytest.approx(metrics["fused"]["accuracy"], abs=1e-6)
    likely = [float(row["probability_of_label"]) for row in held_out]
    assert likely == sorted(likely)


def until(base: Path, words: str, number: signal.Signals) -> tuple[int, str]:
    """Start a job and send it a signal when its log has `words`. Return its exit code and the log."""
    with subprocess.Popen(PROGRAM, env=environment(base), stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        log = ""
        for line in job.stdout:
            log += line
            if words in line:
                job.send_signal(number)
                break
        log += job.stdout.read()
    return job.returncode, log


def test_sigterm_ends_training_at_once_and_the_next_start_goes_on(sample: Path, tmp_path: Path) -> None:
    build_training_tree(tmp_path / "ml", {"train": ChannelData(sample / "train.csv")}, PARAMETERS)
    base = tmp_path / "ml"
    # The part before this line has a checkpoint.
    code, log = until(base, " INFO num: ", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, log
    assert "SIGTERM" in (base / "output/failure").read_text()
    assert not (base / "model/model_config.json").exists()
    # Nothing promises a signal that can be caught.
    code, log = until(base, " INFO artifact: ", signal.SIGKILL)
    assert code == -signal.SIGKILL, log
    for part in ("ingest: 160 rows of train", "text:"):
        assert f"{part} taken from the checkpoint of a previous start" in log
    again = run_train(base)
    assert again.returncode == 0, again.stdout
    for part in ("ingest: 160 rows of train", "text:", "num:", "cat:", "img/photo_image:", "joint:", "fusion:"):
        assert f"{part} taken from the checkpoint of a previous start" in again.stdout
    assert json.loads((base / "output/data/metrics.json").read_text())["seconds"].keys() >= {"text", "joint"}
    assert not (base / "output/failure").exists()
    read_config(base / "model")


def test_sigterm_during_fine_tuning_keeps_its_state_and_the_next_start_goes_on_from_it(tmp_path: Path) -> None:
    data = [["a_text", "label"], *[[f"{['red', 'green'][n % 2]} thing {n}", "ab"[n % 2]] for n in range(40)]]
    settings = {"optim.max_epochs": 1, "env.per_gpu_batch_size": 4, "env.batch_size": 4}
    base = tree(tmp_path, data, {"n_mins": "3", "text_hyperparameters": json.dumps(settings)})
    code, log = until(base, "text_tuned: part 0 saved at epoch", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, log
    assert "Traceback" not in log
    epoch, step = re.findall(r"text_tuned: part 0 saved at epoch (\d+), step (\d+)", log)[-1]
    goes_on = f"text_tuned: part 0 goes on from epoch {epoch}, step {step}"
    code, log = until(base, goes_on, signal.SIGKILL)
    assert goes_on in log
    assert "text: taken from the checkpoint of a previous start" in log


def test_checkpoints_of_another_job_are_refused_or_dropped(tmp_path: Path) -> None:
    data = [["a_num", "b_cat", "label"], *[[str(n % 7), "xyz"[n % 3], "ab"[n % 2]] for n in range(40)]]
    base = tree(tmp_path, data, {"seed": "1"})
    assert run_train(base).returncode == 0
    parameters = base / "input/config/hyperparameters.json"
    parameters.write_text('{"seed": "2"}')
    (base / "model/model_config.json").unlink()
    assert "other hyperparameters" in failed(base)
    parameters.write_text('{"seed": "2", "on_checkpoint_mismatch": "restart"}')
    done = run_train(base)
    assert done.returncode == 0, done.stdout
    assert "taken from the checkpoint" not in done.stdout


def test_channels_are_those_of_the_config_file_not_of_the_directory(tmp_path: Path) -> None:
    base = tree(tmp_path, [HEADER, *rows()])
    config = base / "input/config/inputdataconfig.json"
    config.write_text('{"training": {"TrainingInputMode": "File"}}')
    # The failures below are those of forks. This one is that of the program as the platform starts it.
    done = run_train(base)
    assert "no 'train' channel (its channels: training)" in reason_of(base, done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_epoch": "3"}, "Unknown hyperparameter 'n_epoch': did you mean 'n_epochs'?"),
        ({"quality": "best_ever"}, "quality is 'best_ever'"),
        ({"text_hyperparameters": '{"optim.lrr": 1}'}, "text_hyperparameters: unknown key 'optim.lrr': did you mean"),
        ({"image_backbone": "resnet51"}, "did you mean 'resnet50'"),
        ({"image_backbone": "none/such.pth"}, "there is no file 'none/such.pth'"),
        ({"image_backbone": "vgg11", "quality": "light"}, "no weights for 'vgg11' can be had here"),
    ],
)
def test_a_wrong_hyperparameter_fails_the_job(tmp_path: Path, parameters: dict[str, str], message: str) -> None:
    assert message in failed(tree(tmp_path, [HEADER, *rows()], parameters))


def test_the_validation_channel_is_what_metrics_are_measured_on(tmp_path: Path) -> None:
    columns = ["a_num", "b_cat", "label"]
    data = [columns, *[[str(n % 7), "xyz"[n % 3], "ab"[n % 2]] for n in range(60)]]
    (tmp_path / "train.csv").write_text("\n".join(map(",".join, data)))
    # Few rows, of one known class and of one that training has never seen.
    (tmp_path / "validation.csv").write_text("a_num,b_cat,label\n1,x,a\n2,y,a\n3,z,new\n")
    channels = {name: ChannelData(tmp_path / f"{name}.csv") for name in ("train", "validation")}
    build_training_tree(tmp_path / "ml", channels, {"n_mins": "1"})
    done = run_train(tmp_path / "ml")
    assert done.returncode == 0, done.stdout
    assert "1 of 3 rows have a label that no training row has" in done.stdout
    metrics = json.loads((tmp_path / "ml/output/data/metrics.json").read_text())
    assert (metrics["measured_on"], metrics["rows"]) == ("validation channel", 2)
    predictions = (tmp_path / "ml/output/data/predictions.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in predictions) == ["1", "2", "ID"]


def test_a_pipe_channel_and_skipped_rows(tmp_path: Path) -> None:
    data = [["a_num", "b_cat", "label"], *[[str(n % 7), "xyz"[n % 3], "ab"[n % 2]] for n in range(200)]]
    data[17][0] = "12kg"
    base = tree(tmp_path, data, {"on_bad_row": "skip", "n_mins": "1"})
    config = base / "input/config/inputdataconfig.json"
    config.write_text('{"train": {"TrainingInputMode": "Pipe"}}')
    channel = base / "input/data/train"
    content = (channel / "train.csv").read_bytes()
    shutil.rmtree(channel)
    os.mkfifo(base / "input/data/train_0")
    writer = threading.Thread(target=(base / "input/data/train_0").write_bytes, args=(content,))
    writer.start()
    done = run_train(base)
    writer.join()
    assert done.returncode == 0, done.stdout
    assert "ingest: 199 rows" in done.stdout
    assert re.search(r"artifact: \d+ branches and \d+ MB of networks take about \d+ s, which the budget", done.stdout)
    listed = (base / "output/data/bad_rows.csv").read_text().splitlines()
    assert listed == ["file,row,line,column,reason", "train_0,17,18,a_num,'12kg' is not a finite number"]


def with_cell(column: int, value: str) -> list[list[str]]:
    data = [HEADER, *rows()]
    data[5][column] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([HEADER, *rows(), ["1", "2"]], "row 21: 2 fields instead of 5"),
        (with_cell(3, "abcde"), "row 5, column p_image: not base64 (length 5"),
        (with_cell(2, "12kg"), "row 5, column b_num: '12kg' is not a finite number"),
        (b"ID,a_text,label\n1,caf\xe9,x\n", "line 2: not UTF-8"),
        ([["ID", "a_text"], *[row[:2] for row in rows()]], "no 'label' column"),
        (rows(), "not a header"),
        ([HEADER, *rows()], "'p_image' (image) is empty in every row"),
        ([["a_text", "label"], *[[row[1], "same"] for row in rows()]], "one class only ('same')"),
        ([["a_text", "label"], ["x", "a"], ["y", "b"]], "2 rows: training needs at least 10"),
        ([["price", "label"], *[[row[2], row[4]] for row in rows()]], "'price' has no known suffix"),
        (b"", "nothing is there"),
        (b"ID,a_text,label\n", "0 rows"),
        (b'ID,a_text,label\n1,"torn,x\n2,y,z\n', "not well-formed CSV"),
    ],
    ids=[
        "column count", "base64", "number", "encoding", "no label", "no header", "empty modality", "one class",
        "two rows", "suffix", "empty file", "header only", "open quote",
    ],
)  # fmt: skip
def test_bad_data_fails_the_job_with_one_sentence(tmp_path: Path, data: bytes | list[list[str]], message: str) -> None:
    reason = failed(tree(tmp_path, data, {}))
    assert message in reason
    assert "\n" not in reason
