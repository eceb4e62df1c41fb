"""Networks that AutoGluon fine-tunes, for real: on the CPU, on few rows."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_job import PARAMETERS, WEIGHTS_DIR, WriteCsv

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.task import Task
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.finetune.files import read_predictor
from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor
from multimodal_algo.report.metrics import Metrics
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train

ONE_EPOCH = {"optimization.max_epochs": 1, "env.per_gpu_batch_size": 8, "env.batch_size": 8}


def fit(data: Path, directory: Path, **parameters: str) -> tuple[LoadedModel, Metrics]:
    metrics = train(
        ChannelPaths(data),
        HyperParameters.parse({**PARAMETERS, **parameters}),
        JobDirectories.below(directory, weights=WEIGHTS_DIR),
    )
    return LoadedModel.load(directory / "model"), metrics


def untrained(name: str) -> ImageBackbone:
    import torchvision

    network = torchvision.models.get_model(name, weights=None)
    for module in network.modules():  # statistics that tell one layer from another
        if hasattr(module, "running_mean") and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    from multimodal_algo.networks.torchvision_networks import without_classifier

    return ImageBackbone(BackboneInfo(f"torchvision/{name}", "test", True), without_classifier(network))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_automm_starts_from_the_very_network_that_was_frozen(tmp_path: Path, name: str) -> None:
    import timm
    import torch

    backbone = untrained(name)
    assert backbone.save_for_timm(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    network = timm.create_model(config["architecture"], pretrained=False, num_classes=0).eval()
    network.load_state_dict(torch.load(tmp_path / "pytorch_model.bin", weights_only=True))
    image = np.random.default_rng(0).integers(0, 255, size=(224, 224, 3), dtype=np.uint8)
    mean, std = (torch.tensor(config["pretrained_cfg"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        found = network((torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 - mean) / std)
    np.testing.assert_allclose(found.numpy(), backbone.encode([image]), rtol=1e-3, atol=1e-4)


def test_a_network_that_timm_has_not_is_left_out(tmp_path: Path) -> None:
    assert not untrained("squeezenet1_0").save_for_timm(tmp_path)


def test_fine_tuned_text_and_images_answer_alike_after_loading(
    sample: Path, write_csv: WriteCsv, tmp_path: Path
) -> None:
    settings = json.dumps(ONE_EPOCH)
    with (sample / "train.csv").open(encoding="utf-8", newline="") as stream:
        some = list(csv.reader(stream))[:49]
    predictor, metrics = fit(
        write_csv("train.csv", some), tmp_path,
        text_hyperparameters=settings, image_hyperparameters=settings, image_backbone="resnet18", n_mins="15",
    )  # fmt: skip
    assert {"text_tuned", "img_tuned/photo_image"} <= metrics.modalities.keys()
    with (sample / "test_noheader.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[:3]
    together = predictor.predict(rows)
    assert len(together) == 3
    alone = np.concatenate([predictor.predict([row]) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert not [path for path in files if str(tmp_path).encode() in path.read_bytes()]


def test_answers_are_those_of_autogluons_own_predict(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=90)
    texts = pd.DataFrame({"a_text": [f"{['red', 'green', 'blue'][label]} thing {n}" for n, label in enumerate(labels)]})
    start = {"model.hf_text.checkpoint_name": _sentence_network(tmp_path / "start")}
    settings = FitSettings(
        name="text_tuned", task=Task.of_classes(3), seed=0, scratch=tmp_path / "fit", budget=Budget.starting_now(120),
        model_settings={
            **start, "optim.max_epochs": 3, "env.per_gpu_batch_size": 8, "env.batch_size": 8, "optim.peft": "lora"
        },
    )  # fmt: skip
    fitted, out_of_fold = FineTunedPredictor.fit(texts, labels, np.arange(90) % 6, settings)
    parts = [read_predictor(network.directory) for network in fitted.networks]
    expected = np.mean([part.predict_proba(texts).to_numpy() for part in parts], axis=0)
    np.testing.assert_allclose(fitted.predict(texts), expected, atol=1e-4)
    fitted.save(tmp_path / "saved")
    again = FineTunedPredictor.load(tmp_path / "saved")  # as after a restart, which then writes the artifact
    np.testing.assert_allclose(again.predict(texts), expected, atol=1e-4)
    again.save(tmp_path / "again")
    shutil.rmtree(tmp_path / "saved")
    shutil.rmtree(tmp_path / "start")
    _predict_without_torch(tmp_path / "again", texts, expected)
    for name in ("df_preprocessor.pkl", "data_processors.pkl", "eval_metric.pkl"):
        shutil.copytree(tmp_path / "again/0", tmp_path / name)
        (tmp_path / name / name).write_bytes(b"cos\nsystem\n(Vtrue\ntR.")  # AutoMM would go on without one
        with pytest.raises(UserError, match=rf"{name}: the pickle names os\.system"):
            read_predictor(tmp_path / name)
    assert out_of_fold.shape == (90, 3)
    assert np.allclose(out_of_fold.sum(axis=1), 1, atol=1e-4)


def _predict_without_torch(directory: Path, texts: pd.DataFrame, expected: np.ndarray) -> None:
    """Compare the answers of a process that imports neither torch nor AutoMM."""
    texts.to_parquet(directory / "texts.parquet")
    np.save(directory / "expected.npy", expected)
    code = f"""
import sys
from pathlib import Path
import numpy as np, pandas as pd
from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor

directory = Path({str(directory)!r})
answers = FineTunedPredictor.load(directory).predict(pd.read_parquet(directory / "texts.parquet"))
np.testing.assert_allclose(answers, np.load(directory / "expected.npy"), atol=1e-4)
assert not {{"torch", "autogluon"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_numbers_are_fine_tuned_too(write_csv: WriteCsv, tmp_path: Path) -> None:
    rows = [[["cheap", "dear"][n % 2] + f" thing {n % 7}", f"{100.0 * (n % 2) + n % 7 + 0.5}"] for n in range(60)]
    predictor, metrics = fit(
        write_csv("train.csv", [["a_text", "label"], *rows]), tmp_path,
        text_hyperparameters=json.dumps(ONE_EPOCH), problem_type="regression",
    )  # fmt: skip
    assert "text_tuned" in metrics.modalities
    answers = predictor.predict([["cheap thing 1"], ["dear thing 1"]])[:, 0]
    assert answers[1] > answers[0] + 50


def test_classes_of_few_rows_are_fine_tuned_too(write_csv: WriteCsv, tmp_path: Path) -> None:
    rows = [[f"thing number {n} of kind {n % 12}", f"kind {n % 12}"] for n in range(48)]
    rows.append(["something else", "only once"])
    predictor, metrics = fit(
        write_csv("train.csv", [["a_text", "label"], *rows]), tmp_path, text_hyperparameters=json.dumps(ONE_EPOCH)
    )
    assert "text_tuned" in metrics.modalities
    assert predictor.predict([["thing number 3 of kind 3"]]).shape == (1, 13)


def _sentence_network(directory: Path) -> str:
    from multimodal_algo.networks.texts.find import find_text_network

    find_text_network("all-MiniLM-L6-v2").save_for_transformers(directory)
    return str(directory)
