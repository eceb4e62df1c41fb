"""``multimodal-algo export-backbones`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from multimodal_algo.artifact import (
    FORMAT_VERSION,
    IMAGE_BACKBONE,
    BackboneEntry,
    ModelConfig,
    current_versions,
    write_artifact,
)
from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.training.continuing.export import export_backbones


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


def test_an_exported_network_gives_the_vectors_of_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    name = "shufflenet_v2_x0_5"
    network = ImageBackbone.resolve(name, weights_dir=tmp_path / "weights", allow_untrained=True, seed=0)
    entry = BackboneEntry(**vars(network.info))
    config = ModelConfig(
        format_version=FORMAT_VERSION, columns=("a_image", "label"), problem_type="binary", classes=("x", "y"),
        branches=(), image_backbone=entry, min_completeness=0.25, recipe="toy", hyperparameters={},
        versions=current_versions(), metrics={},
    )  # fmt: skip
    write_artifact(tmp_path / "model", config, lambda directory: network.save(directory / IMAGE_BACKBONE))
    assert export_backbones(tmp_path / "model", tmp_path / "out") == [f"image_backbone={tmp_path / 'out/image'}"]
    exported = ImageBackbone.resolve(
        str(tmp_path / "out/image"), weights_dir=tmp_path / "weights", allow_untrained=False, seed=0
    )
    cells = list(np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    np.testing.assert_array_equal(exported.encode(cells), network.encode(cells))
    assert exported.info == network.info
