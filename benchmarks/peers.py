"""Other methods that ``quality.py`` compares with, and the rows in the form that they take."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier

from multimodal_algo.core.schema import LABEL, FeatureSchema, Modality
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features


@dataclass(frozen=True)
class Data:
    """Training rows and test rows, with the vectors of the project's own frozen networks.

    Parameters
    ----------
    folder
        Folder of ``train.csv`` and ``test.csv``.
    schema, task, classes
        Columns, task and classes, as training found them.
    train, test
        Features of the rows.
    targets, truth
        Class index, int (rows,), or number, float (rows,), of the training rows and of the test rows.
    """

    folder: Path
    schema: FeatureSchema
    task: Task
    classes: tuple[str, ...]
    train: Features
    test: Features
    targets: np.ndarray
    truth: np.ndarray

    @property
    def outputs(self) -> int:
        """Length of an answer."""
        return self.task.outputs


def vectors_of(features: Features, column: str) -> np.ndarray:
    """Return the vectors of a column, float32 (rows, width), 0 where there is none."""
    cells = features.vectors[column]
    dense = np.zeros((len(features), cells.vectors.shape[1]), dtype=np.float32)
    dense[cells.present] = cells.vectors[cells.index[cells.present]]
    return dense


def columns_of(data: Data, *modalities: Modality) -> list[str]:
    """Return the columns of some modalities."""
    return [column for modality in modalities for column in data.schema.of(modality)]


def column_table(data: Data, features: Features) -> pd.DataFrame:
    """Return numbers, and categories as pandas categories of the values that training rows have."""
    known = data.train.table
    frame = features.table[columns_of(data, Modality.NUM)].copy()
    for column in columns_of(data, Modality.CAT):
        frame[column] = pd.Categorical(features.table[column], categories=known[column].unique())
    return frame


def tfidf_gbm(data: Data) -> np.ndarray:
    import lightgbm

    parts = []
    for column in columns_of(data, Modality.TEXT):
        tfidf = TfidfVectorizer(sublinear_tf=True, max_features=2000, min_df=3, dtype=np.float32)
        parts.append((tfidf.fit_transform(data.train.table[column]), tfidf.transform(data.test.table[column])))
    codes = [column_table(data, features) for features in (data.train, data.test)]
    for table in codes:
        for column in table.select_dtypes("category"):
            table[column] = table[column].cat.codes
    known = sparse.hstack([*(a for a, _ in parts), codes[0].fillna(0).to_numpy(np.float32)]).tocsr()
    asked = sparse.hstack([*(b for _, b in parts), codes[1].fillna(0).to_numpy(np.float32)]).tocsr()
    model = lightgbm.LGBMClassifier(n_estimators=150, learning_rate=0.1, num_leaves=15, verbose=-1)
    return np.asarray(model.fit(known, data.targets).predict_proba(asked))


def tabular(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    from autogluon.tabular import TabularPredictor

    def frame(features: Features) -> pd.DataFrame:
        parts = [column_table(data, features)]
        for column in columns_of(data, Modality.TEXT, Modality.IMAGE):
            parts.append(pd.DataFrame(vectors_of(features, column)).add_prefix(f"{column}."))
        return pd.concat(parts, axis=1)

    predictor = TabularPredictor(label=LABEL, path=str(scratch), eval_metric="log_loss", verbosity=0)
    predictor.fit(frame(data.train).assign(**{LABEL: data.targets}), time_limit=seconds, dynamic_stacking=False)
    return predictor.predict_proba(frame(data.test)).reindex(columns=range(len(data.classes)), fill_value=0).to_numpy()


def guide(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    from autogluon.tabular import TabularPredictor

    groups = [columns_of(data, Modality.TEXT), columns_of(data, Modality.NUM), columns_of(data, Modality.CAT)]
    groups += [[column] for column in columns_of(data, Modality.IMAGE)]
    votes: list[list[np.ndarray]] = []
    for number, columns in enumerate([group for group in groups if group]):
        frames = []
        for features in (data.train, data.test):
            if columns[0] in features.vectors:
                parts = [pd.DataFrame(vectors_of(features, column)).add_prefix(column) for column in columns]
                frames.append(pd.concat(parts, axis=1))
            else:
                frames.append(column_table(data, features)[columns])
        predictor = TabularPredictor(label=LABEL, path=str(scratch / str(number)), verbosity=0)
        predictor.fit(
            frames[0].assign(**{LABEL: data.targets}), hyperparameters="toy", time_limit=seconds / (len(groups) + 1)
        )
        order = range(len(data.classes))
        votes.append([predictor.predict_proba(f).reindex(columns=order, fill_value=0).to_numpy() for f in frames])
    known, asked = np.hstack([part[0] for part in votes]), np.hstack([part[1] for part in votes])
    width, n_classes = known.shape[1], len(data.classes)
    network = MLPClassifier((2 * width // 3 + n_classes, width // 3 + n_classes), max_iter=50, random_state=0)
    return np.asarray(network.fit(known, data.targets).predict_proba(asked))


def automm(data: Data, seconds: float, scratch: Path, timm_weights: Path | None) -> np.ndarray:
    from autogluon.multimodal import MultiModalPredictor

    from multimodal_algo.networks.texts.find import find_text_network

    texts, images = columns_of(data, Modality.TEXT), columns_of(data, Modality.IMAGE)
    others = columns_of(data, Modality.NUM, Modality.CAT)
    options: dict[str, object] = {
        "env.num_gpus": 0, "env.accelerator": "cpu", "env.num_workers": 0, "env.num_workers_inference": 0,
        "env.per_gpu_batch_size": 16, "env.batch_size": 32, "optim.top_k": 1, "optim.top_k_average_method": "best",
        "optim.max_epochs": 10, "data.categorical.minimum_cat_count": 2,
    }  # fmt: skip
    names = []
    if texts:
        names.append("hf_text")
        find_text_network("all-MiniLM-L6-v2").save_for_transformers(scratch / "minilm")
        options["model.hf_text.checkpoint_name"] = str(scratch / "minilm")
        options |= {"model.hf_text.max_text_len": 128, "model.hf_text.text_trivial_aug_maxscale": 0.0}
    if images:
        assert timm_weights is not None, "--timm-weights"
        names.append("timm_image")
        options["model.timm_image.checkpoint_name"] = str(_timm_directory(timm_weights, scratch / "timm"))
    if others:
        names.append("ft_transformer")
    if len(names) > 1:
        names.append("fusion_mlp")
    frames = [pd.read_csv(data.folder / name, dtype=str, keep_default_na=False) for name in ("train.csv", "test.csv")]
    for frame in frames:
        for column in images:
            frame[column] = [base64.b64decode(cell.split(";")[0]) if cell else None for cell in frame[column]]
        for column in columns_of(data, Modality.NUM):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    types = dict.fromkeys(texts, "text") | dict.fromkeys(images, "image_bytearray") | {LABEL: "categorical"}
    types |= dict.fromkeys(columns_of(data, Modality.NUM), "numerical")
    types |= dict.fromkeys(columns_of(data, Modality.CAT), "categorical")
    kept = list(types)
    predictor = MultiModalPredictor(
        label=LABEL, problem_type="multiclass" if len(data.classes) > 2 else "binary", eval_metric="log_loss",
        path=str(scratch / "fit"), verbosity=0, enable_progress_bar=False,
    )  # fmt: skip
    predictor.fit(
        frames[0][kept], time_limit=seconds, hyperparameters={"model.names": names, **options}, column_types=types
    )
    return predictor.predict_proba(frames[1][kept]).reindex(columns=list(data.classes), fill_value=0).to_numpy()


def _timm_directory(weights: Path, directory: Path) -> Path:
    import timm
    import torch

    network = timm.create_model("mobilenetv2_100", pretrained=False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.reset_classifier(0)
    directory.mkdir(parents=True)
    torch.save(network.state_dict(), directory / "pytorch_model.bin")
    described = {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    config = {
        "architecture": "mobilenetv2_100", "num_features": network.num_features,
        "pretrained_cfg": {"architecture": "mobilenetv2_100", **described},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    return directory
