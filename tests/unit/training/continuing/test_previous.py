"""An artifact may come from anywhere: what is not what its description says is refused."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.artifact import CONFIG, FORMAT_VERSION, ROW_KEYS, ModelConfig, current_versions, write_artifact
from multimodal_algo.core.errors import MultimodalError, UserError
from multimodal_algo.training.continuing.previous import PreviousModel, find_artifact


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An artifact that has hardly anything in it."""
    config = ModelConfig(
        format_version=FORMAT_VERSION, columns=("a_num", "label"), problem_type="binary", classes=("x", "y"),
        branches=(), image_backbone=None, min_completeness=0.25, recipe="toy", hyperparameters={},
        versions=current_versions(), metrics={},
    )  # fmt: skip

    def write_files(directory: Path) -> None:
        (directory / "text").mkdir()
        (directory / "text/part").write_text("of a model")
        np.save(directory / ROW_KEYS, np.array([3, 5], dtype=np.uint32))

    write_artifact(tmp_path / "small", config, write_files)
    return tmp_path / "small"


def packed(directory: Path, archive: Path, *others: tarfile.TarInfo, folder: str = ".") -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(directory, arcname=folder)
        for member in others:
            tar.addfile(member)
    return archive


def test_an_artifact_is_found_extracted_as_an_archive_and_in_a_channel(small: Path, tmp_path: Path) -> None:
    archive = packed(small, tmp_path / "channel/model.tar.gz")
    for number, location in enumerate((small, archive, archive.parent)):
        directory, config = find_artifact(location, tmp_path / f"scratch-{number}")
        assert config.classes == ("x", "y")
        assert (directory / "text/part").read_text() == "of a model"


@pytest.mark.parametrize("folder", [".", "model", "export/1", "my model"])
def test_an_artifact_is_found_in_a_folder_of_its_archive(small: Path, tmp_path: Path, folder: str) -> None:
    archive = packed(small, tmp_path / "channel/model.tar.gz", folder=folder)
    shutil.copytree(small, tmp_path / "extracted" / folder, dirs_exist_ok=True)
    for number, location in enumerate((archive, archive.parent, tmp_path / "extracted")):
        directory, config = find_artifact(location, tmp_path / f"scratch-{number}")
        assert config.classes == ("x", "y")
        assert (directory / "text/part").read_text() == "of a model"


def test_files_that_the_description_does_not_list_are_not_extracted_and_logged_once(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (
        "._model_config.json",
        "text/._part",
        "__MACOSX/._text",
        ".DS_Store",
        "text/Thumbs.db",
        "code/inference.py",
    )
    for name in names:
        (small / name).parent.mkdir(exist_ok=True)
        (small / name).write_text("of a desktop")
    archive = packed(small, tmp_path / "channel/model.tar.gz", folder="model")
    (archive.parent / "._model.tar.gz").write_text("of a desktop")
    with caplog.at_level("INFO"):
        directory, config = find_artifact(archive.parent, tmp_path / "scratch")
    left = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert left == {CONFIG, *config.files}
    (line,) = [record.getMessage() for record in caplog.records if "not extracted" in record.getMessage()]
    assert line.startswith(f"model.tar.gz: {len(names)} files that do not belong to a model")


def test_two_artifacts_in_one_archive_are_refused(small: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(small, both / "a")
    shutil.copytree(small, both / "b")
    with pytest.raises(UserError, match="the folders a and b hold one artifact each"):
        find_artifact(packed(both, tmp_path / "model.tar.gz"), tmp_path / "scratch")


def test_rows_and_copies_of_rows_are_known_again(small: Path) -> None:
    previous = PreviousModel(*find_artifact(small, small / "scratch"))
    keys = np.array([[3, 9], [4, 5], [4, 9], [4, 0]], dtype=np.uint32)
    assert previous.is_new(keys).tolist() == [False, False, True, True]
    assert set(previous.known_keys(np.array([[7, 8]], dtype=np.uint32))) == {3, 5, 7, 8}


def change(files: Path, kind: str) -> None:
    if kind == "changed file":
        (files / "text/part").write_text("of another")
    if kind == "missing file":
        (files / "text/part").unlink()
    if kind in ("outside", "model outside", "other version"):
        told = json.loads((files / CONFIG).read_text())
        entry = {"name": "../../etc", "branch": "text", "columns": ["a_text"]}
        changed = {
            "outside": {"files": {"../../etc/passwd": "0" * 64}},
            "model outside": {"branches": [entry]},
            "other version": {"versions": {**told["versions"], "torch": "1.0"}},
        }
        (files / CONFIG).write_text(json.dumps({**told, **changed[kind]}))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    ("kind", "others", "told"),
    [
        ("changed file", [], "damaged: text/part"),
        ("missing file", [], "incomplete: text/part"),
        ("outside", [], "lies outside the artifact"),
        ("model outside", [], "lies outside the artifact"),
        ("other version", [], "trained with torch 1.0"),
        ("link", [member("text/linked", tarfile.SYMTYPE, "/etc/passwd")], "neither a file nor a folder"),
        ("hard link", [member("text/linked", tarfile.LNKTYPE, "text/part")], "neither a file nor a folder"),
        ("device", [member("text/linked", tarfile.CHRTYPE)], "neither a file nor a folder"),
        ("path", [member("../../outside")], "'../../outside' lies outside the archive"),
        ("absolute", [member("/outside")], "'/outside' lies outside the archive"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value[12:] else "",
)
def test_what_is_not_as_described_is_refused_in_one_sentence(
    small: Path, tmp_path: Path, kind: str, others: list[tarfile.TarInfo], told: str
) -> None:
    change(small, kind)
    with pytest.raises(UserError) as error:
        find_artifact(packed(small, tmp_path / "channel/model.tar.gz", *others), tmp_path / "scratch")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path.parent / "outside").exists()


def test_an_archive_must_be_whole_and_the_only_one(small: Path, tmp_path: Path) -> None:
    archive = packed(small, tmp_path / "channel/model.tar.gz")
    shutil.copy(archive, archive.with_name("other.tar.gz"))
    with pytest.raises(UserError, match=r"there must be one model.tar.gz, but there is model.tar.gz, other.tar.gz"):
        find_artifact(archive.parent, tmp_path / "scratch")
    archive.with_name("other.tar.gz").unlink()
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be extracted as a model archive"):
        find_artifact(archive.parent, tmp_path / "scratch")
    archive.unlink()
    with pytest.raises(UserError, match=r"there must be one model.tar.gz, but there is none"):
        find_artifact(archive.parent, tmp_path / "scratch")


KEY = "a key of some length"


def signed(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the artifact again with a key."""
    monkeypatch.setenv("ARTIFACT_KEY", KEY)
    config = ModelConfig.model_validate_json((directory / CONFIG).read_text())
    write_artifact(tmp_path / "signed", config, lambda staging: shutil.copytree(directory / "text", staging / "text"))
    return tmp_path / "signed"


def test_a_signed_artifact_is_loaded_with_its_key(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(signed(small, tmp_path, monkeypatch), tmp_path / "channel/model.tar.gz")
    assert find_artifact(archive, tmp_path / "scratch")[1].classes == ("x", "y")
    monkeypatch.delenv("ARTIFACT_KEY")
    assert find_artifact(archive, tmp_path / "without")[1].classes == ("x", "y")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unsigned", "the artifact is not signed, but ARTIFACT_KEY is set"),
        ("other key", "the signature is not one by ARTIFACT_KEY"),
        ("changed", "the signature is not one by ARTIFACT_KEY"),
        ("added", "text/extra.pkl, which its signature does not cover"),
        ("short key", "ARTIFACT_KEY has 4 characters"),
    ],
)
def test_an_artifact_without_the_right_signature_is_refused(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    directory = signed(small, tmp_path, monkeypatch)
    if kind == "unsigned":
        directory = small
    if kind == "changed":
        (directory / CONFIG).write_text((directory / CONFIG).read_text().replace('"toy"', '"best"'))
    if kind == "added":
        (directory / "text/extra.pkl").touch()
    if kind.endswith("key"):
        monkeypatch.setenv("ARTIFACT_KEY", "another key of some length" if kind == "other key" else "tiny")
    with pytest.raises(MultimodalError, match=reason):
        find_artifact(directory, tmp_path / "scratch")
