"""Fit this project and its peers on folders of ``train.csv`` and ``test.csv``, and print a table of their quality.

All get the same frozen networks and the same seconds. For example::

    python benchmarks/quality.py DATA/emoji DATA/netflix --seconds 240

Peers: ``stack`` (tf-idf and vectors with logistic regression, LightGBM on columns, out-of-fold logistic meta-learner
averaged with a logarithmic pool), ``tfidf-gbm`` (tf-idf and columns in LightGBM), ``tabular`` (one ``TabularPredictor``
over all vectors and columns), ``guide`` (a ``TabularPredictor`` with AutoGluon's toy models per modality, and a network
over what they say of the rows that they were fitted to), ``automm`` (``MultiModalPredictor``, end to end; its image
network is timm's ``mobilenetv2_100``, whose weights ``--timm-weights`` names).
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.metrics import CLASSIFICATION
from multimodal_algo.core.schema import LABEL, Modality
from multimodal_algo.ingest.features import Features
from multimodal_algo.ingest.sources import Source, read_rows
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train


@dataclass(frozen=True)
class Data:
    """Rows in the form that peers take; made with the project's own frozen networks."""

    folder: Path
    train: Features
    test: Features
    labels: np.ndarray
    truth: np.ndarray
    classes: tuple[str, ...]
    predictor: LoadedModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--image-backbone", default="auto")
    parser.add_argument("--text-backbone", default="auto")
    parser.add_argument("--qualities", nargs="*", default=["toy"])
    parser.add_argument("--peers", nargs="*", default=["stack", "tfidf-gbm", "tabular"], choices=list(PEERS))
    parser.add_argument("--timm-weights", type=Path, help="state dict of mobilenetv2_100, for automm")
    parser.add_argument("--append", type=Path, help="append one JSON line per fit to this file")
    arguments = parser.parse_args()
    configure_logging()
    warnings.simplefilter("ignore")
    lines = []
    print("| data | what | seconds | accuracy | log-loss | macro-F1 | calibration error |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for folder in arguments.folders:
        with tempfile.TemporaryDirectory() as scratch:
            data = None
            for quality in arguments.qualities:
                started = time.monotonic()
                predictor = ours(folder, quality, arguments, Path(scratch) / quality)
                seconds = time.monotonic() - started
                data = data or load(folder, predictor)  # the networks, and so the features, are the same
                answers = predictor.fuse(predictor.votes(data.test))
                lines.append(told(data, f"ours, {quality}", seconds, answers, arguments.seconds))
            for peer in arguments.peers:
                assert data is not None
                started = time.monotonic()
                if peer == "automm":
                    answers = automm(data, arguments.seconds, Path(scratch) / peer, arguments.timm_weights)
                else:
                    answers = PEERS[peer](data, arguments.seconds, Path(scratch) / peer)
                lines.append(told(data, peer, time.monotonic() - started, answers, arguments.seconds))
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)


def told(data: Data, what: str, seconds: float, answers: np.ndarray, limit: float) -> dict[str, object]:
    scores = {
        name: CLASSIFICATION[name](data.truth, answers)
        for name in ("accuracy", "log_loss", "f1_macro", "calibration_error")
    }
    row = " | ".join(f"{value:.3f}" for value in scores.values())
    print(f"| {data.folder.name} | {what} | {seconds:.0f} | {row} |", flush=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "date": now, "benchmark": "quality", "data": data.folder.name, "what": what, "limit_s": limit,
        "s": round(seconds), **{name: round(value, 4) for name, value in scores.items()},
    }  # fmt: skip


def ours(folder: Path, quality: str, arguments: argparse.Namespace, scratch: Path) -> LoadedModel:
    values = {
        "quality": quality, "n_secs": str(arguments.seconds), "image_backbone": arguments.image_backbone,
        "text_backbone": arguments.text_backbone,
    }  # fmt: skip
    train(
        ChannelPaths(folder / "train.csv"),
        HyperParameters.parse(values),
        JobDirectories.below(scratch, weights=Path(arguments.image_backbone).parent),
    )
    return LoadedModel.load(scratch / "model")


def load(folder: Path, predictor: LoadedModel) -> Data:
    parts = []
    for name in ("train.csv", "test.csv"):
        header, *rows = [row.fields for row in read_rows(Source(folder / name, name))]
        place = header.index(LABEL)
        features, problems = predictor.features([cells[:place] + cells[place + 1 :] for cells in rows])
        assert not any(problems)
        parts.append((features, np.array([predictor.classes.index(cells[place]) for cells in rows])))
    (known, labels), (asked, truth) = parts
    return Data(folder, known, asked, labels, truth, predictor.classes, predictor)


def _vectors(features: Features, column: str) -> np.ndarray:
    cells = features.vectors[column]
    dense = np.zeros((len(features), cells.vectors.shape[1]), dtype=np.float32)
    dense[cells.present] = cells.vectors[cells.index[cells.present]]
    return dense


def _columns(data: Data, *modalities: Modality) -> list[str]:
    return [column for modality in modalities for column in data.predictor.schema.of(modality)]


def _table(data: Data, features: Features) -> pd.DataFrame:
    known = data.train.table
    frame = features.table[_columns(data, Modality.NUM)].copy()
    for column in _columns(data, Modality.CAT):
        frame[column] = pd.Categorical(features.table[column], categories=known[column].unique())
    return frame


def stack(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    import lightgbm

    n_classes = len(data.classes)
    texts, networks = _columns(data, Modality.TEXT), [_columns(data, Modality.TEXT), _columns(data, Modality.IMAGE)]

    def words(known: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        parts = []
        for column in texts:
            table, asked = data.train.table[column], data.test.table[column]
            for options in ({"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (2, 5), "min_df": 2}):
                tfidf = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **options).fit(table.iloc[known])
                parts.append((tfidf.transform(table), tfidf.transform(asked)))
        return sparse.hstack([a for a, _ in parts]).tocsr(), sparse.hstack([b for _, b in parts]).tocsr()

    def heads(known: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        answers = []

        def add(model: object, train_rows: object, test_rows: object) -> None:
            model.fit(train_rows[known] if not isinstance(train_rows, pd.DataFrame) else train_rows.iloc[known],
                      data.labels[known])  # fmt: skip
            both = []
            for rows in (train_rows, test_rows):
                full = np.full((rows.shape[0], n_classes), 1e-4)
                full[:, model.classes_] = model.predict_proba(rows)
                both.append(full)
            answers.append((both[0], both[1]))

        if texts:
            add(LogisticRegression(C=10, max_iter=200), *words(known))
        for columns in networks:
            if columns:
                a = np.hstack([_vectors(data.train, c) for c in columns])
                b = np.hstack([_vectors(data.test, c) for c in columns])
                scaler = StandardScaler().fit(a[known])
                add(LogisticRegression(C=0.01 if columns is networks[0] else 0.003, max_iter=200),
                    scaler.transform(a), scaler.transform(b))  # fmt: skip
        if _columns(data, Modality.NUM, Modality.CAT):
            trees = lightgbm.LGBMClassifier(
                n_estimators=60, num_leaves=7, learning_rate=0.1, min_child_samples=10, verbose=-1
            )
            add(trees, _table(data, data.train), _table(data, data.test))
        return answers

    everything = np.arange(len(data.labels))
    final = [b for _, b in heads(everything)]
    held_out = [np.zeros((len(data.labels), n_classes)) for _ in final]
    for outside, inside in StratifiedKFold(5, shuffle=True, random_state=0).split(everything, data.labels):
        for number, (answers, _) in enumerate(heads(outside)):
            held_out[number][inside] = answers[inside]
    logs = [np.log(np.clip(part, 1e-4, 1)) for part in held_out]
    asked = [np.log(np.clip(part, 1e-4, 1)) for part in final]
    meta = LogisticRegression(C=0.05, max_iter=300).fit(np.hstack(logs), data.labels)
    pooled = softmax(np.sum(asked, axis=0) / np.sqrt(len(asked)), axis=1)
    return (meta.predict_proba(np.hstack(asked)) + pooled) / 2


def tfidf_gbm(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    import lightgbm

    parts = []
    for column in _columns(data, Modality.TEXT):
        tfidf = TfidfVectorizer(sublinear_tf=True, max_features=2000, min_df=3, dtype=np.float32)
        parts.append((tfidf.fit_transform(data.train.table[column]), tfidf.transform(data.test.table[column])))
    codes = [_table(data, features) for features in (data.train, data.test)]
    for table in codes:
        for column in table.select_dtypes("category"):
            table[column] = table[column].cat.codes
    known = sparse.hstack([*(a for a, _ in parts), codes[0].fillna(0).to_numpy(np.float32)]).tocsr()
    asked = sparse.hstack([*(b for _, b in parts), codes[1].fillna(0).to_numpy(np.float32)]).tocsr()
    model = lightgbm.LGBMClassifier(n_estimators=150, learning_rate=0.1, num_leaves=15, verbose=-1)
    return np.asarray(model.fit(known, data.labels).predict_proba(asked))


def tabular(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    from autogluon.tabular import TabularPredictor

    def frame(features: Features) -> pd.DataFrame:
        parts = [_table(data, features)]
        for column in _columns(data, Modality.TEXT, Modality.IMAGE):
            parts.append(pd.DataFrame(_vectors(features, column)).add_prefix(f"{column}."))
        return pd.concat(parts, axis=1)

    predictor = TabularPredictor(label=LABEL, path=str(scratch), eval_metric="log_loss", verbosity=0)
    predictor.fit(frame(data.train).assign(**{LABEL: data.labels}), time_limit=seconds, dynamic_stacking=False)
    return predictor.predict_proba(frame(data.test)).reindex(columns=range(len(data.classes)), fill_value=0).to_numpy()


def guide(data: Data, seconds: float, scratch: Path) -> np.ndarray:
    from autogluon.tabular import TabularPredictor

    groups = [_columns(data, Modality.TEXT), _columns(data, Modality.NUM), _columns(data, Modality.CAT)]
    groups += [[column] for column in _columns(data, Modality.IMAGE)]
    said: list[list[np.ndarray]] = []
    for number, columns in enumerate([group for group in groups if group]):
        frames = []
        for features in (data.train, data.test):
            if columns[0] in features.vectors:
                parts = [pd.DataFrame(_vectors(features, column)).add_prefix(column) for column in columns]
                frames.append(pd.concat(parts, axis=1))
            else:
                frames.append(_table(data, features)[columns])
        predictor = TabularPredictor(label=LABEL, path=str(scratch / str(number)), verbosity=0)
        predictor.fit(
            frames[0].assign(**{LABEL: data.labels}), hyperparameters="toy", time_limit=seconds / (len(groups) + 1)
        )
        order = range(len(data.classes))
        said.append([predictor.predict_proba(f).reindex(columns=order, fill_value=0).to_numpy() for f in frames])
    known, asked = np.hstack([part[0] for part in said]), np.hstack([part[1] for part in said])
    width, n_classes = known.shape[1], len(data.classes)
    network = MLPClassifier((2 * width // 3 + n_classes, width // 3 + n_classes), max_iter=50, random_state=0)
    return np.asarray(network.fit(known, data.labels).predict_proba(asked))


def automm(data: Data, seconds: float, scratch: Path, timm_weights: Path | None) -> np.ndarray:
    from autogluon.multimodal import MultiModalPredictor

    from multimodal_algo.networks.texts.find import find_text_network

    texts, images = _columns(data, Modality.TEXT), _columns(data, Modality.IMAGE)
    others = _columns(data, Modality.NUM, Modality.CAT)
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
        for column in _columns(data, Modality.NUM):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    types = dict.fromkeys(texts, "text") | dict.fromkeys(images, "image_bytearray") | {LABEL: "categorical"}
    types |= dict.fromkeys(_columns(data, Modality.NUM), "numerical")
    types |= dict.fromkeys(_columns(data, Modality.CAT), "categorical")
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


PEERS: dict[str, Callable[..., np.ndarray]] = {
    "stack": stack,
    "tfidf-gbm": tfidf_gbm,
    "tabular": tabular,
    "guide": guide,
    "automm": automm,
}

if __name__ == "__main__":
    main()
