from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError
from multimodal_algo.training.checkpoints import Checkpoints

DATA = {"train": "a digest"}


def opened(directory: Path, data: dict[str, str] = DATA, **parameters: str) -> Checkpoints:
    return Checkpoints.open(directory, data, HyperParameters.parse(parameters))


def keep(checkpoints: Checkpoints, name: str, text: str = "kept", seconds: float = 1.0) -> Path:
    return checkpoints.save(name, lambda directory: write(directory, text), seconds=seconds)


def write(directory: Path, text: str) -> None:
    (directory / "sub").mkdir()
    (directory / "sub/file").write_text(text)


def text_of(part: Path | None) -> str | None:
    return None if part is None else (part / "sub/file").read_text()


def test_the_next_start_of_a_job_finds_what_was_kept(tmp_path: Path) -> None:
    keep(opened(tmp_path), "models/img/photo_image")
    again = opened(tmp_path)
    assert text_of(again.find("models/img/photo_image")) == "kept"
    assert again.find("models/text") is None
    assert again.spent_s("models/img/photo_image") == 1.0


def test_markers_of_the_uploader_are_passed_over(tmp_path: Path) -> None:
    part = keep(opened(tmp_path), "models/text")
    for path in (part / "sub/file", part / "whole.json", tmp_path / "state.json"):
        for ending in (".sagemaker-uploading", ".sagemaker-uploaded"):
            path.with_name(path.name + ending).touch()
    again = opened(tmp_path)
    assert text_of(again.find("models/text")) == "kept"
    assert again.names("models") == ["text"]


def test_a_part_that_did_not_arrive_whole_is_made_again(tmp_path: Path) -> None:
    part = keep(opened(tmp_path), "models/text")
    (part / "sub/file").unlink()
    assert opened(tmp_path).find("models/text") is None
    (part / "whole.json").unlink()
    assert opened(tmp_path).find("models/text") is None
    assert text_of(keep(opened(tmp_path), "models/text", "anew")) == "anew"


@pytest.mark.parametrize("damage", ["flipped", "truncated", "description"])
def test_damage_is_refused_in_one_sentence_or_dropped(tmp_path: Path, damage: str) -> None:
    part = keep(opened(tmp_path), "models/text")
    path = part / ("whole.json" if damage == "description" else "sub/file")
    path.write_bytes(path.read_bytes()[:-2] if damage == "truncated" else b"{other")
    with pytest.raises(
        UserError, match=r"models/text.*(is damaged|cannot be read).*on_checkpoint_mismatch=restart"
    ) as told:
        opened(tmp_path).find("models/text")
    assert "\n" not in str(told.value)
    assert opened(tmp_path, on_checkpoint_mismatch="restart").find("models/text") is None
    assert not part.exists()


def test_a_job_that_kept_nothing_leaves_nothing_to_match(tmp_path: Path) -> None:
    opened(tmp_path)
    keep(opened(tmp_path, {"train": "mended"}, on_bad_row="skip"), "data/train")
    with pytest.raises(UserError, match="of a job with other"):
        opened(tmp_path)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    keep(opened(tmp_path), "models/text")
    (tmp_path / "state.json").write_text('{"data": 3')
    with pytest.raises(UserError, match=r"state.json is damaged"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("data", "parameters", "told"),
    [
        ({"train": "other"}, {}, r"other data \(train\)"),
        ({"train": "a digest", "validation": "new"}, {}, r"other data \(validation\)"),
        (DATA, {"seed": "7", "quality": "light"}, r"other hyperparameters \(quality, seed\)"),
    ],
)
def test_checkpoints_of_another_job_are_told_apart(
    tmp_path: Path, data: dict[str, str], parameters: dict[str, str], told: str
) -> None:
    keep(opened(tmp_path), "models/text")
    with pytest.raises(UserError, match=told):
        opened(tmp_path, data, **parameters)
    assert opened(tmp_path, data, on_checkpoint_mismatch="restart", **parameters).find("models/text") is None


def test_a_part_of_another_job_is_none_of_this_one_whatever_the_state_says(tmp_path: Path) -> None:
    # The uploader may have copied the new state before it removed the old parts.
    keep(opened(tmp_path / "old"), "models/text")
    opened(tmp_path / "new", seed="7")
    (tmp_path / "old/state.json").write_bytes((tmp_path / "new/state.json").read_bytes())
    with pytest.raises(UserError, match="models/text is of another job"):
        opened(tmp_path / "old", seed="7").find("models/text")


def test_a_directory_of_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "epoch-3.pt").write_text("someone's")
    for mode in ("error", "restart"):
        with pytest.raises(UserError, match=r"'epoch-3.pt' is not a checkpoint of this algorithm"):
            opened(tmp_path, on_checkpoint_mismatch=mode)
    assert (tmp_path / "epoch-3.pt").read_text() == "someone's"


def test_parts_of_a_long_fit_know_what_it_took_over_all_starts(tmp_path: Path) -> None:
    checkpoints = opened(tmp_path).scoped("fitting/text_tuned", 0.0)
    checkpoints.save("0.running/1", lambda directory: write(directory, "one"))
    whole = tmp_path / "fitting/text_tuned/0.running/1/whole.json"
    told = json.loads(whole.read_text())
    whole.write_text(json.dumps({**told, "seconds": 100.0}))
    again = opened(tmp_path).scoped("fitting/text_tuned", 0.0)
    assert again.names("0.running") == ["1"]
    assert again.spent_s >= 100
    again.drop("0.running")
    assert again.find("0.running/1") is None


KILLED = """
import sys
from pathlib import Path
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.training.checkpoints import Checkpoints

checkpoints = Checkpoints.open(Path(sys.argv[1]), {"train": "a digest"}, HyperParameters())
def write(directory):
    for number in range(200):
        (directory / str(number)).write_text(f"{number} of {generation}")
for generation in range(10_000):
    checkpoints.save("models/text", write)
    print(generation, flush=True)
"""


def test_kill_9_at_any_instant_leaves_whole_parts_or_none(tmp_path: Path) -> None:
    for lines in range(1, 6):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as job:
            assert job.stdout is not None
            for _ in range(lines):
                assert job.stdout.readline()
            job.kill()
        part = opened(tmp_path).find("models/text")  # refuses damage
        if part is not None:
            contents = {(part / str(number)).read_text().split()[-1] for number in range(200)}
            assert len(contents) == 1
        assert not list(tmp_path.rglob("*.sagemaker-ignore"))
