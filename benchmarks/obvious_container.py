"""The container that one would write first, around the same models: Flask, ``pd.read_csv``, a Pillow loop.

    python benchmarks/obvious_container.py ARTIFACT_DIR PORT

It reads a body with pandas, decodes and transforms each image as torchvision's documentation does, runs the frozen
networks by torch and each predictor's ``predict_proba`` for every request, under a lock, since neither likes threads.
"""

from __future__ import annotations

import base64
import io
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from PIL import Image

from multimodal_algo.artifact import FUSION, IMAGE_BACKBONE, TEXT_BACKBONE, read_config
from multimodal_algo.branches.registry import load_model
from multimodal_algo.core.schema import ID, Modality
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.votes import votes_of
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.ingest.image_input import ImageInput
from multimodal_algo.networks.image_backbone import ImageBackbone
from multimodal_algo.networks.image_info import BackboneInfo
from multimodal_algo.networks.text_backbone import TextBackbone, joined
from multimodal_algo.networks.texts.find import find_text_networks


class Obvious:
    """The models, and what it does with a body."""

    def __init__(self, directory: Path) -> None:
        self.config = read_config(directory)
        self.schema = self.config.schema_
        self.models = [
            load_model(e.branch, e.name, e.columns, self.config.task, directory / e.name) for e in self.config.branches
        ]
        self.fusion = Fusion.load(directory / FUSION)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.config.image_backbone is not None:
            info = BackboneInfo(**dict(self.config.image_backbone))
            self.image = ImageBackbone.load(directory / IMAGE_BACKBONE, info).network.to(self.device)
            self.transform = transform_of(info.takes)
        if self.schema.of(Modality.TEXT):
            folders = find_text_networks(str(directory / TEXT_BACKBONE))
            self.text = joined([TextBackbone.load(Path(folder)) for folder in folders])
        self.lock = threading.Lock()

    def answer(self, body: bytes) -> str:
        """A line per row."""
        columns = list(self.schema.inference_columns)
        table = pd.read_csv(io.BytesIO(body), header=None, names=columns, dtype=str, keep_default_na=False)
        with self.lock:
            vectors = {column: self.texts(table[column]) for column in self.schema.of(Modality.TEXT)}
            vectors |= {column: self.images(table[column]) for column in self.schema.of(Modality.IMAGE)}
            frame = table[[c for c in self.schema.features if c not in self.schema.of(Modality.IMAGE)]].copy()
            for column in self.schema.of(Modality.NUM):
                frame[column] = pd.to_numeric(frame[column])
            features = Features.of_table(frame, vectors)
            votes = votes_of(self.models, features, min_completeness=self.config.min_completeness)
            answers = self.fusion.predict(votes)
        labels = [self.config.classes[winner] for winner in answers.argmax(axis=1)]
        rows = pd.DataFrame({"ID": table.get(ID, ""), "label": labels, "probability": answers.max(axis=1).round(6)})
        return rows.to_csv(index=False, header=False)

    def images(self, cells: pd.Series) -> VectorColumn:
        """Each image by itself, then all through the network."""
        present = np.flatnonzero(cells != "")
        decoded = [Image.open(io.BytesIO(base64.b64decode(cells.iloc[row]))).convert("RGB") for row in present]
        with torch.inference_mode():
            batch = torch.stack([self.transform(image) for image in decoded]).to(self.device)
            found = torch.cat([self.image(batch[start : start + 32]) for start in range(0, len(batch), 32)])
        index = np.full(len(cells), -1)
        index[present] = np.arange(len(present))
        return VectorColumn(found.cpu().numpy().astype(np.float16), index)

    def texts(self, cells: pd.Series) -> VectorColumn:
        """By torch, which runs the networks where nothing else was asked for."""
        found = self.text(list(cells))
        return VectorColumn(found.astype(np.float16), np.where(cells != "", np.arange(len(cells)), -1))


def transform_of(takes: ImageInput) -> torchvision.transforms.Compose:
    """The transforms of torchvision that the network was trained with."""
    filters = torchvision.transforms.InterpolationMode(takes.interpolation)
    return torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(takes.resize, filters),
            torchvision.transforms.CenterCrop(takes.side),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(takes.mean, takes.std),
        ]
    )


class Server(BaseApplication):
    """gunicorn with one worker and some threads."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in {
            "bind": f"127.0.0.1:{self.port}",
            "threads": 8,
            "timeout": 3600,
            "loglevel": "error",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called by gunicorn, in the worker."""
        obvious = Obvious(self.directory)
        app = Flask(__name__)

        @app.get("/ping")
        def ping() -> Response:
            return Response(status=200)

        @app.post("/invocations")
        def invocations() -> Response:
            return Response(obvious.answer(request.get_data()), mimetype="text/csv")

        return app


if __name__ == "__main__":
    Server(Path(sys.argv[1]), int(sys.argv[2])).run()
