"""Load, memory, speed and size of fine-tuned networks, by engine. Each engine runs in a process of its own.

    python benchmarks/fine_tuned.py text DIRECTORY
    python benchmarks/fine_tuned.py image DIRECTORY

The first call fits three networks to made rows: MiniLM to texts, or EfficientNet-Lite0 to pictures. Later calls with
the same directory only measure. ``torch`` is AutoMM's own predictor, in one thread as in a server.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from multimodal_algo.config.inference import Engine
from multimodal_algo.predictors.finetune.predictor import FineTunedPredictor

ROWS, TIMES, REPEATS = 60, 2, 2
ENGINES = (Engine.TORCH, Engine.ONNX, Engine.OPENVINO)


def main() -> None:
    kind, directory, *engine = sys.argv[1:]
    root = Path(directory)
    if engine:
        print(json.dumps(measured(root, Engine(engine[0]))))
        return
    if not (root / "saved").is_dir():
        fit(kind, root)
    for _ in range(REPEATS):
        for each in ENGINES:
            command = [sys.executable, __file__, kind, directory, each.value]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(json.dumps({"benchmark": "fine_tuned", "kind": kind, **json.loads(done.stdout.splitlines()[-1])}))


def fit(kind: str, root: Path) -> None:
    from multimodal_algo.core.budget import Budget
    from multimodal_algo.core.task import Task
    from multimodal_algo.predictors.base import FitSettings

    labels = np.random.default_rng(0).integers(3, size=ROWS)
    key, cells = texts(root, labels) if kind == "text" else pictures(root, labels)
    once: dict[str, Any] = {"optim.max_epochs": 1, "env.per_gpu_batch_size": 8, "env.batch_size": 8}
    settings = FitSettings(
        name=kind, task=Task.of_classes(3), seed=0, scratch=root / "fit", budget=Budget.starting_now(600),
        model_settings={f"model.{key}.checkpoint_name": str(root / "start"), **once},
    )  # fmt: skip
    table = pd.DataFrame(cells)
    fitted, _ = FineTunedPredictor.fit(table, labels, np.arange(ROWS) % 6, settings)
    table.to_pickle(root / "rows.pkl")
    fitted.save(root / "saved")


def texts(root: Path, labels: np.ndarray) -> tuple[str, dict[str, list[str]]]:
    from multimodal_algo.networks.texts.find import find_text_network

    find_text_network("all-MiniLM-L6-v2").save_for_transformers(root / "start")
    words = ["red", "green", "blue"]
    long = [f"{words[label]} thing number {n} " + "more words " * (n % 40) for n, label in enumerate(labels)]
    return "hf_text", {"a_text": long, "b_text": [text[::2] if n % 5 else "" for n, text in enumerate(long)]}


def pictures(root: Path, labels: np.ndarray) -> tuple[str, dict[str, list[bytes | None]]]:
    from multimodal_algo.networks.embedded import embedded_network
    from multimodal_algo.networks.timm_networks import write_for_timm

    info, network = embedded_network("tf_efficientnet_lite0")
    write_for_timm(network, info, root / "start")
    return "timm_image", {"a_image": [jpeg(label, n) if n % 9 else None for n, label in enumerate(labels)]}


def jpeg(label: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 50, (180, 240, 3), dtype=np.uint8)
    pixels[..., label] += 200
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def measured(root: Path, engine: Engine) -> dict[str, Any]:
    table = pd.read_pickle(root / "rows.pkl")
    if engine is Engine.TORCH:
        import torch

        torch.set_num_threads(1)
    started = cpu_s()
    predictor = FineTunedPredictor.load(root / "saved", engine)
    predictor.predict(table.head(1))
    load_s, started, clock = cpu_s() - started, cpu_s(), time.perf_counter()
    rows = pd.concat([table] * TIMES, ignore_index=True)
    predictor.predict(rows)
    return {
        "engine": predictor.networks[0].engine,
        "load_cpu_s": round(load_s, 2),
        "cpu_ms_a_row": round(1000 * (cpu_s() - started) / len(rows), 1),
        "rows_per_s": round(len(rows) / (time.perf_counter() - clock), 1),
        "pss_mb": pss_mb(),
        "size_mb": round(sum(path.stat().st_size for path in (root / "saved").rglob("*") if path.is_file()) / 1e6, 1),
        "imports_torch": "torch" in sys.modules,
    }


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def pss_mb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


if __name__ == "__main__":
    main()
