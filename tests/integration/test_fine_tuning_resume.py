"""Fine-tuning that is interrupted, for real: which states are saved, and how the next start goes on."""

from __future__ import annotations

import io
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import Stopped, StopRequest, Write
from multimodal_algo.core.task import Task
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Parallelism, SentDirectory
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.find import find_text_network
from multimodal_algo.networks.torchvision_networks import torchvision_network, without_classifier
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.finetune import fit as finetune_fit
from multimodal_algo.predictors.finetune import resume
from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor

ROWS = 72
FOLDS = np.arange(ROWS) % 6
EPOCHS = 3
# 48 rows are known to each part, of which five decide when to stop.
STEPS_AN_EPOCH = 6
STEPS = EPOCHS * STEPS_AN_EPOCH
VALIDATIONS = 2 * EPOCHS


class DirectoryStore:
    """Saves parts in a directory. The process is killed when the part `killed_at` is saved."""

    def __init__(self, directory: Path, killed_at: str | None = None) -> None:
        self.directory = directory
        self.killed_at = killed_at
        self.saved: list[str] = []

    def find(self, name: str) -> Path | None:
        part = self.directory / name
        return part if (part / ".whole").is_file() else None

    def save(self, name: str, write: Write) -> Path:
        part = self.directory / name
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(part)
        (part / ".whole").touch()
        self.saved.append(name)
        if name == self.killed_at:
            raise Killed
        return part

    def names(self, under: str) -> list[str]:
        return [whole.parent.name for whole in (self.directory / under).glob("*/.whole")]

    def drop(self, name: str) -> None:
        shutil.rmtree(self.directory / name, ignore_errors=True)


class OtherProcesses(LocalExecutor):
    """Does work items as other processes do: they get nothing that cannot be sent."""

    resources = replace(LocalExecutor.resources, in_process=False)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a sentence network that is tiny, so that fitting it takes a second."""
    from transformers import BertConfig, BertModel

    directory = tmp_path_factory.mktemp("start") / "network"
    find_text_network("all-MiniLM-L6-v2").save_for_transformers(directory)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30522, **sizes)).save_pretrained(directory)
    return str(directory)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads gain nothing on so small a network, and wait for each other where other processes run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state after each validation is saved."""
    monkeypatch.setattr(resume, "_PAUSE_PER_SAVE", 0)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Fills with part and step of every batch that is trained."""
    done: list[tuple[int, int]] = []
    after_batches(monkeypatch, lambda saver, trainer: done.append((saver._running.part, trainer.global_step)))
    return done


def after_batches(monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, Any], None]) -> None:
    """Let `call` be called after every batch, before our own callback."""
    before = resume._StateSaver.on_train_batch_end

    def on_train_batch_end(self: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        call(self, trainer)
        before(self, trainer, *args, **kwargs)

    monkeypatch.setattr(resume._StateSaver, "on_train_batch_end", on_train_batch_end)


def rows() -> tuple[pd.DataFrame, np.ndarray]:
    labels = np.random.default_rng(0).integers(3, size=ROWS)
    colours = ["red", "green", "blue"]
    return pd.DataFrame({"a_text": [f"{colours[label]} thing {n}" for n, label in enumerate(labels)]}), labels


def fit(
    start: str, path: Path, checkpoints: DirectoryStore | None = None, stop: StopRequest | None = None, *,
    peft: str | None = None, teacher: Path | None = None, budget_s: float = 600,
    parallelism: Parallelism | None = None,
) -> tuple[FineTunedPredictor, np.ndarray]:  # fmt: skip
    texts, labels = rows()
    model_settings = {
        "model.hf_text.checkpoint_name": start, "optim.max_epochs": EPOCHS, "optim.peft": peft,
        "env.per_gpu_batch_size": 8, "env.batch_size": 8, "optim.lr": 3e-3,
    }  # fmt: skip
    settings = FitSettings(
        name="text_tuned", task=Task.of_classes(3), model_settings=model_settings, seed=0, scratch=path,
        budget=Budget.starting_now(budget_s), checkpoints=checkpoints, stop=stop, parallelism=parallelism,
        teacher=None if teacher is None else SentDirectory(teacher),
    )  # fmt: skip
    return FineTunedPredictor.fit(texts, labels, FOLDS, settings)


def log_loss(answers: np.ndarray) -> float:
    _, labels = rows()
    return float(-np.log(answers[np.arange(ROWS), labels]).mean())


def weights(predictor: FineTunedPredictor, part: int) -> dict[str, Any]:
    stored = load_file(predictor.networks[part].directory / "weights.safetensors")
    return {"model." + name: value for name, value in stored.items()}


def best_of(checkpoints: DirectoryStore, state: str) -> dict[str, Any]:
    (best,) = (checkpoints.directory / state).glob("epoch=*.ckpt")
    return dict(torch.load(best, weights_only=True)["state_dict"])


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value.to(found[name].dtype)), name  # some are rounded to 16 bits


@pytest.mark.parametrize("kind", ["plain", "lora", "taught"])
def test_a_killed_fit_goes_on_where_it_was(
    start: str, tmp_path: Path, kind: str, steps: list[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "multimodal_algo")
    teacher = None
    if kind == "taught":
        teacher = tmp_path / "teacher_saved"
        fit(start, tmp_path / "teacher")[0].save(teacher)
    how: dict[str, Any] = {"peft": "lora" if kind == "lora" else None, "teacher": teacher}
    _, uninterrupted = fit(start, tmp_path / "uninterrupted", **how)
    killed = DirectoryStore(tmp_path / "kept", killed_at="1.running/3")
    with pytest.raises(Killed):
        fit(start, tmp_path / "first", killed, **how)
    shutil.rmtree(tmp_path / "first")
    steps.clear()
    checkpoints = DirectoryStore(tmp_path / "kept")
    predictor, out_of_fold = fit(start, tmp_path / "second", checkpoints, **how)
    assert "text_tuned: part 0 taken from the checkpoint of a previous start" in caplog.text
    assert "text_tuned: part 1 goes on from epoch 1, step 9" in caplog.text
    assert steps == [*((1, step) for step in range(10, STEPS + 1)), *((2, step) for step in range(1, STEPS + 1))]
    assert checkpoints.saved[:4] == ["1.running/4", "1.running/5", "1.running/6", "1"]
    assert sorted(part.name for part in checkpoints.directory.iterdir()) == ["0", "1", "2"]
    np.testing.assert_allclose(out_of_fold[FOLDS % 3 == 0], uninterrupted[FOLDS % 3 == 0], atol=1e-5)
    assert log_loss(out_of_fold) < log_loss(uninterrupted) + 0.15
    predictor.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "kept")
    texts, _ = rows()
    np.testing.assert_allclose(
        FineTunedPredictor.load(tmp_path / "saved").predict(texts), predictor.predict(texts), atol=1e-5
    )


def test_parts_that_other_processes_fit_are_kept_as_they_come(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "multimodal_algo")
    parallelism = Parallelism(OtherProcesses(), 1)
    with pytest.raises(Killed):
        fit(start, tmp_path / "first", DirectoryStore(tmp_path / "kept", killed_at="1"), parallelism=parallelism)
    shutil.rmtree(tmp_path / "first")
    checkpoints = DirectoryStore(tmp_path / "kept")
    _, out_of_fold = fit(start, tmp_path / "second", checkpoints, parallelism=parallelism)
    assert checkpoints.saved == ["2"]
    for part in (0, 1):
        assert f"text_tuned: part {part} taken from the checkpoint of a previous start" in caplog.text
    # They are the parts of a job on one host, which goes on from them too.
    checkpoints = DirectoryStore(tmp_path / "kept")
    _, alone = fit(start, tmp_path / "third", checkpoints)
    assert checkpoints.saved == []
    np.testing.assert_allclose(alone, out_of_fold, atol=1e-5)


def test_the_best_network_from_before_the_interruption_ships(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = DirectoryStore(tmp_path / "kept", killed_at="0.running/4")
    with pytest.raises(Killed):
        fit(start, tmp_path / "first", checkpoints)
    shutil.rmtree(tmp_path / "first")
    best = best_of(checkpoints, "0.running/4")

    def spoil(saver: Any, trainer: Any) -> None:
        with torch.no_grad():
            for parameter in trainer.lightning_module.parameters():
                parameter.normal_()

    after_batches(monkeypatch, spoil)
    predictor, _ = fit(start, tmp_path / "second", DirectoryStore(tmp_path / "kept"))
    assert_equal(weights(predictor, 0), best)


@pytest.mark.parametrize("ended_by", ["epochs", "time"])
def test_a_fit_that_was_kept_at_its_end_ends_with_its_best_network(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[int, int]], ended_by: str
) -> None:
    at = f"0.running/{VALIDATIONS if ended_by == 'epochs' else 3}"
    checkpoints = DirectoryStore(tmp_path / "kept", killed_at=at)
    with pytest.raises(Killed):
        fit(start, tmp_path / "first", checkpoints)
    best = best_of(checkpoints, at)
    steps.clear()
    monkeypatch.setattr(finetune_fit, "_LEAST_LIMIT_S", 0.01)
    predictor, _ = fit(
        start, tmp_path / "second", DirectoryStore(tmp_path / "kept"), budget_s=600 if ended_by == "epochs" else 0
    )
    assert 0 not in {part for part, _ in steps}
    assert_equal(weights(predictor, 0), best)


def test_a_fit_that_is_asked_to_stop_keeps_the_step_it_is_at(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(resume, "_PAUSE_PER_SAVE", 1e9)  # no state is due after the first
    stop = StopRequest()
    asking = threading.Thread(target=stop.ask, args=(60,), daemon=True)

    def ask(saver: Any, trainer: Any) -> None:
        if trainer.global_step == 5 and not stop.is_asked:
            asking.start()
            stop._asked.wait(60)

    after_batches(monkeypatch, ask)
    checkpoints = DirectoryStore(tmp_path / "kept")
    with pytest.raises(Stopped):
        fit(start, tmp_path / "first", checkpoints, stop)
    asking.join(5)
    assert not asking.is_alive()
    assert checkpoints.saved == ["0.running/1", "0.running/2"]
    assert checkpoints.names("0.running") == ["2"]
    steps.clear()
    _, out_of_fold = fit(start, tmp_path / "second", checkpoints, StopRequest())
    assert [step for part, step in steps if part == 0] == list(range(6, STEPS + 1))
    assert log_loss(out_of_fold) < 1


def test_states_are_kept_only_as_often_as_leaves_time_for_fitting(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "_PAUSE_PER_SAVE", 1e9)
    checkpoints = DirectoryStore(tmp_path / "kept")
    fit(start, tmp_path / "fit", checkpoints)
    assert checkpoints.saved == ["0.running/1", "0", "1.running/1", "1", "2.running/1", "2"]


def test_a_teacher_that_knows_other_classes_is_done_without(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts, labels = rows()
    settings = FitSettings(
        name="teacher", task=Task.of_classes(2), seed=0, scratch=tmp_path / "teacher",
        model_settings={"model.hf_text.checkpoint_name": start, "optim.max_epochs": 1},
        budget=Budget.starting_now(600),
    )  # fmt: skip
    teacher, _ = FineTunedPredictor.fit(texts, labels % 2, FOLDS, settings)
    teacher.save(tmp_path / "saved")
    settings = replace(
        settings, name="m", task=Task.of_classes(3), scratch=tmp_path / "m", teacher=SentDirectory(tmp_path / "saved")
    )
    _, taught = FineTunedPredictor.fit(texts, labels, FOLDS, settings)
    assert "m: part 0 is fitted without its teacher" in caplog.text
    assert taught.shape == (ROWS, 3)


def test_fine_tuned_networks_are_backbones_for_other_tasks(start: str, tmp_path: Path) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    labels = np.arange(18) % 2
    pictures = []
    for label in labels:
        stream = io.BytesIO()
        noise = generator.integers(0, 128, (32, 32, 3)) + 127 * label
        Image.fromarray(noise.astype(np.uint8)).save(stream, "JPEG")
        pictures.append(stream.getvalue())
    texts = [f"{['red', 'green'][label]} thing {n}" for n, label in enumerate(labels)]
    network = ImageBackbone(
        BackboneInfo("torchvision/mobilenet_v2", "test", True), without_classifier(torchvision_network("mobilenet_v2"))
    )
    assert network.save_for_timm(tmp_path / "images")
    model_settings = {
        "model.hf_text.checkpoint_name": start, "model.timm_image.checkpoint_name": str(tmp_path / "images"),
        "model.timm_image.max_image_num_per_column": 2,
        "optim.max_epochs": 1, "env.per_gpu_batch_size": 8, "env.batch_size": 8, "optim.lr": 1e-3,
    }  # fmt: skip
    settings = FitSettings(
        name="early", task=Task.of_classes(2), model_settings=model_settings, seed=0, scratch=tmp_path / "fit",
        budget=Budget.starting_now(600),
    )  # fmt: skip
    inputs = pd.DataFrame({"a_text": texts, "b_image": [None, pictures[1:3], *pictures[2:]], "c_num": np.arange(18.0)})
    inputs["d_cat"] = ["x", "y", "z"] * 6
    predictor, _ = FineTunedPredictor.fit(inputs, labels, np.arange(18) % 3, settings)
    predictor.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "images")
    loaded = FineTunedPredictor.load(tmp_path / "saved")
    by_torch = FineTunedPredictor.load(tmp_path / "saved", Engine.TORCH)
    assert {network.engine for network in by_torch.networks} == {"torch"}
    assert "torch" not in {network.engine for network in loaded.networks}
    np.testing.assert_allclose(loaded.predict(inputs), by_torch.predict(inputs), atol=1e-4)
    for name, fitted in {"fitted": predictor, "loaded": loaded}.items():
        fitted.save_networks(tmp_path / name)
    image, text = tmp_path / "loaded" / "image", tmp_path / "loaded" / "text"
    backbone = ImageBackbone.resolve(str(image), weights_dir=tmp_path, allow_untrained=False, seed=0)
    assert backbone.info == BackboneInfo("timm/mobilenetv2_100", "fine-tuned", True)
    cells = [generator.integers(0, 255, (224, 224, 3), dtype=np.uint8)]
    before = network.encode(cells)
    assert backbone.encode(cells).shape == before.shape
    assert np.abs(backbone.encode(cells) - before).max() > 1e-3
    vectors = TextBackbone.resolve(str(text)).encode(["red thing", "green thing"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors - TextBackbone.resolve(start).encode(["red thing", "green thing"])).max() > 1e-3
    np.testing.assert_allclose(
        TextBackbone.resolve(str(tmp_path / "fitted" / "text")).encode(["red thing", "green thing"]), vectors, atol=1e-6
    )
