"""``multimodal-algo export-backbones`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError


@pytest.mark.parametrize("name", ["model.tar.gz", "model"])
def test_what_was_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = tmp_path / name
    model.mkdir() if name == "model" else model.write_bytes(b"x")
    asked: list[tuple[Path, Path]] = []

    def export(model: Path, output: Path) -> list[str]:
        asked.append((model, output))
        return ["text_backbone=there", "image_backbone=there too"]

    monkeypatch.setattr("multimodal_algo.training.continuing.export.export_backbones", export)
    done = CliRunner().invoke(main, ["export-backbones", str(model), "--output", str(tmp_path / "networks")])
    assert (done.exit_code, done.output) == (0, "text_backbone=there\nimage_backbone=there too\n")
    assert asked == [(model, tmp_path / "networks")]


def test_what_cannot_be_exported_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(model: Path, output: Path) -> list[str]:
        raise UserError("it holds no networks.")

    monkeypatch.setattr("multimodal_algo.training.continuing.export.export_backbones", export)
    (tmp_path / "model.tar.gz").write_bytes(b"x")
    done = CliRunner().invoke(main, ["export-backbones", str(tmp_path / "model.tar.gz"), "--output", str(tmp_path)])
    assert (done.exit_code, done.output) == (1, "Error: it holds no networks.\n")
