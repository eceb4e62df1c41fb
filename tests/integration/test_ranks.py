"""One network that several processes fine-tune together, for real: two of them, on the CPU, over gloo."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.execution.ranks import Rank, free_port
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.finetune.fit import PartFit
from multimodal_algo.predictors.finetune.settings import _rank_settings

ROWS = 60
# Six rows decide when to stop.
LEARNT = 54
BATCH = 10
EPOCHS = 3
STEPS = EPOCHS * -(-LEARNT // BATCH)
RANKS = 2
LONGEST_S = 240


@dataclass(frozen=True)
class Fit:
    """One of several that the same processes do after another."""

    start: str
    epochs: int
    limit_s: float
    port: int
    # As if the disk of a rank had not what the others have.
    missing_on: int | None = None


def test_two_processes_fit_one_network_and_can_be_used_again(tmp_path: Path) -> None:
    network = str(_sentence_network(tmp_path / "start"))
    fits = [
        Fit(network, EPOCHS, 600, free_port()),
        Fit(network, 1000, 2, free_port()),
        Fit(network, EPOCHS, 600, free_port(), missing_on=1),
        Fit(network, 1, 600, free_port()),
    ]
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_child, args=(rank, tmp_path, fits)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LONGEST_S)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(RANKS))

    whole, short, broken, again = zip(first, second, strict=True)
    # As many steps as one process takes, each of them with half of the rows, to the same end of the schedule.
    assert [fit["steps"] for fit in whole] == [STEPS, STEPS]
    assert [fit["rows"] for fit in whole] == [EPOCHS * LEARNT / RANKS] * RANKS
    assert 0 < whole[0]["rate"] < 0.02 * whole[0]["highest"]
    assert whole[0]["right"] > 0.9
    # The limit came when it came, but to both at the same step.
    assert 0 < short[0]["steps"] == short[1]["steps"] < 1000 * STEPS / EPOCHS
    assert [fit["steps"] for fit in broken] == [0, 0]
    assert all(fit["error"] for fit in broken)
    assert [fit["steps"] for fit in again] == [STEPS / EPOCHS] * RANKS
    for fit in (*whole, *short, *again):
        assert fit["error"] is None
    for fit in (whole, short, again):
        assert fit[0]["right"] is not None
        assert fit[1]["right"] is None
    for fit in (*first, *second):
        assert fit["traces"] == []
    assert sorted(path.name for path in (tmp_path / "text_tuned").rglob("*rank*")) == []


@pytest.mark.parametrize(
    ("per_gpu", "batch", "ranks", "expected"),
    [
        (32, 32, 1, (32, 32)),
        (32, 32, 2, (32, 16)),
        (32, 96, 2, (96, 24)),
        (32, 128, 4, (128, 32)),
        (64, 32, 2, (64, 32)),
        (8, 8, 3, (8, 2)),
        (8, 8, 16, (8, 1)),
    ],
)
def test_a_step_takes_as_many_rows_as_that_of_one_process(
    per_gpu: int, batch: int, ranks: int, expected: tuple[int, int]
) -> None:
    settings = _rank_settings({"env.per_gpu_batch_size": per_gpu, "env.batch_size": batch}, ranks)
    assert (settings["env.batch_size"], settings["env.per_gpu_batch_size"]) == expected
    of_all = settings["env.per_gpu_batch_size"] * ranks
    steps = max(1, settings["env.batch_size"] // of_all)  # as AutoMM counts them
    assert settings["env.per_gpu_batch_size"] <= per_gpu
    assert of_all * steps <= max(settings["env.batch_size"], ranks)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.fabric.plugins.environments import TorchElasticEnvironment

    monkeypatch.setenv("MASTER_PORT", "1")
    before = dict(os.environ)
    with Rank(3, 4, "host", 1234).environment():
        assert TorchElasticEnvironment.detect()
        found = TorchElasticEnvironment()
        assert found.creates_processes_externally
        assert (found.global_rank(), found.world_size(), found.local_rank(), found.main_port) == (3, 4, 0, 1234)
        os.environ["OMP_NUM_THREADS"] = "1"
    assert dict(os.environ) == before


def _child(rank: int, directory: Path, fits: list[Fit]) -> None:
    """Fit them all, and write what each did and what it left behind."""
    import torch
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
    from torch.nn.modules.module import register_module_forward_pre_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook

    torch.set_num_threads(1)
    found: dict[str, Any] = {}

    def stepped(optimizer: Any, *_: Any) -> None:
        found["steps"] += 1
        found["rate"] = optimizer.param_groups[0]["lr"]
        found["highest"] = max(found["highest"], found["rate"])

    def seen(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings > 30_000 and module.training:
            found["rows"] += len(inputs[0])

    register_optimizer_step_post_hook(stepped)
    register_module_forward_pre_hook(seen)
    labels = np.arange(ROWS) % 2
    texts = pd.DataFrame({"a_text": [f"{['red', 'green'][label]} thing {n}" for n, label in enumerate(labels)]})
    results = []
    for part, fit in enumerate(fits):
        found.update(steps=0, rows=0, highest=0, error=None, right=None)
        model_settings = {
            "model.hf_text.checkpoint_name": fit.start if fit.missing_on != rank else f"{fit.start}/missing",
            "optim.max_epochs": fit.epochs, "optim.lr": 1e-2, "optim.lr_decay": 1.0, "optim.patience": 10**6,
            "env.per_gpu_batch_size": BATCH, "env.batch_size": BATCH,
        }  # fmt: skip
        settings = FitSettings(
            name="text_tuned", task=Task.of_classes(2), model_settings=model_settings, seed=0,
            scratch=directory / "text_tuned" / "predictor", budget=Budget.starting_now(fit.limit_s),
        )  # fmt: skip
        me = Rank(rank, RANKS, "127.0.0.1", fit.port)
        try:
            predictor = PartFit(settings, part, texts, labels, np.arange(ROWS), fit.limit_s).run(me)
        except Exception as error:
            predictor, found["error"] = None, repr(error)
        if predictor is not None:
            found["right"] = float((predictor.predict_proba(texts).to_numpy().argmax(axis=1) == labels).mean())
        traces = [name for name in me.variables() if name in os.environ]
        traces += ["group"] * torch.distributed.is_initialized() + ["rank"] * getattr(rank_zero_only, "rank", 0)
        results.append({**found, "traces": traces})
    (directory / f"{rank}.json").write_text(json.dumps(results))


def _sentence_network(directory: Path) -> Path:
    """A sentence network that is tiny."""
    import torch
    from transformers import BertConfig, BertModel

    from multimodal_algo.networks.text_backbone import TextBackbone

    TextBackbone.resolve("all-MiniLM-L6-v2").save(directory)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30522, **sizes)).save_pretrained(directory)
    return directory
