"""The reference of ``quality.py``: a stack of simple models over the same cells and vectors.

Classes: a logistic regression on TF-IDF of words and pieces, one on the vectors of texts, one on those of images, and
LightGBM on columns. A logistic regression over their held-out answers is averaged with a logarithmic pool.

Numbers: ridge regressions on the same, LightGBM on columns, LightGBM on columns joined with vectors and 60 components
of the TF-IDF, and a ridge regression over their held-out answers.

Held-out answers come from five folds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from peers import Data, column_table, columns_of, vectors_of
from scipy import sparse
from scipy.special import softmax
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from multimodal_algo.core.schema import Modality

_FOLDS = 5
_COMPONENTS = 60
_LEAST = 1e-4
_TOKENS: tuple[dict[str, Any], ...] = (
    {"ngram_range": (1, 2)},
    {"analyzer": "char_wb", "ngram_range": (2, 5), "min_df": 2},
)


class Pair(NamedTuple):
    """The training rows and the test rows, in the form that one model takes, or its answers for them."""

    train: Any
    test: Any


def stack(data: Data) -> np.ndarray:
    """Return the answers for the test rows: probabilities, float (rows, n), or numbers, float (rows, 1)."""
    asked = [answers.test for answers in _answers(data, np.arange(len(data.targets)))]
    held_out = [np.zeros((len(data.targets), data.outputs)) for _ in asked]
    folds = (KFold if data.task.is_regression else StratifiedKFold)(_FOLDS, shuffle=True, random_state=0)
    for outside, inside in folds.split(data.targets, data.targets):
        for into, answers in zip(held_out, _answers(data, outside), strict=True):
            into[inside] = answers.train[inside]
    if data.task.is_regression:
        meta = RidgeCV(np.logspace(-2, 3, 10)).fit(np.hstack(held_out), data.targets)
        return meta.predict(np.hstack(asked))[:, None]
    return _combined(held_out, asked, data.targets)


def _combined(held_out: list[np.ndarray], asked: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    known, new = ([np.log(np.clip(part, _LEAST, 1)) for part in parts] for parts in (held_out, asked))
    meta = LogisticRegression(C=0.05, max_iter=300).fit(np.hstack(known), labels)
    pooled = softmax(np.sum(new, axis=0) / np.sqrt(len(new)), axis=1)
    return np.asarray((meta.predict_proba(np.hstack(new)) + pooled) / 2)


def _answers(data: Data, known: np.ndarray) -> list[Pair]:
    """Return the answers of each model, fitted to the training rows at the positions `known`."""
    answers = []
    for model, rows in _models(data, known):
        model.fit(_take(rows.train, known), data.targets[known])
        answers.append(Pair(*(_answer(model, part, data) for part in rows)))
    return answers


def _take(rows: Any, positions: np.ndarray) -> Any:
    return rows.iloc[positions] if isinstance(rows, pd.DataFrame) else rows[positions]


def _answer(model: Any, rows: Any, data: Data) -> np.ndarray:
    if data.task.is_regression:
        return model.predict(rows)[:, None]
    full = np.full((rows.shape[0], data.outputs), _LEAST)
    full[:, model.classes_] = model.predict_proba(rows)
    return full


def _models(data: Data, known: np.ndarray) -> list[tuple[Any, Pair]]:
    """Return the models that the columns allow, each with its rows. What rows look like is learned from `known`."""
    numbers = data.task.is_regression
    models: list[tuple[Any, Pair]] = []
    dense: list[Pair] = []
    if columns_of(data, Modality.TEXT):
        words = _words(data, known)
        models.append((Ridge(1.0) if numbers else LogisticRegression(C=10, max_iter=200), words))
        dense.append(_components(words, known) if numbers else words)
    for modality, strength in ((Modality.TEXT, 0.01), (Modality.IMAGE, 0.003)):
        if columns_of(data, modality):
            vectors = _vectors(data, modality)
            linear = Ridge(300.0) if numbers else LogisticRegression(C=strength, max_iter=200)
            models.append((linear, _standardised(vectors, known)))
            dense.append(vectors)
    if columns_of(data, Modality.NUM, Modality.CAT):
        table = Pair(column_table(data, data.train), column_table(data, data.test))
        models.append((_trees(numbers), table))
        if numbers:
            models.append((_trees(numbers, colsample_bytree=0.3), _joined(table, dense)))
    return models


def _words(data: Data, known: np.ndarray) -> Pair:
    parts = []
    for column in columns_of(data, Modality.TEXT):
        texts = data.train.table[column]
        for options in _TOKENS:
            tfidf = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **options).fit(texts.iloc[known])
            parts.append((tfidf.transform(texts), tfidf.transform(data.test.table[column])))
    return Pair(*(sparse.hstack(side).tocsr() for side in zip(*parts, strict=True)))


def _components(words: Pair, known: np.ndarray) -> Pair:
    svd = TruncatedSVD(_COMPONENTS, random_state=0).fit(words.train[known])
    return Pair(svd.transform(words.train), svd.transform(words.test))


def _vectors(data: Data, modality: Modality) -> Pair:
    columns = columns_of(data, modality)
    return Pair(*(np.hstack([vectors_of(side, column) for column in columns]) for side in (data.train, data.test)))


def _standardised(vectors: Pair, known: np.ndarray) -> Pair:
    scaler = StandardScaler().fit(vectors.train[known])
    return Pair(scaler.transform(vectors.train), scaler.transform(vectors.test))


def _joined(table: Pair, dense: list[Pair]) -> Pair:
    def side(frame: pd.DataFrame, parts: list[np.ndarray]) -> pd.DataFrame:
        return pd.concat([frame.reset_index(drop=True), pd.DataFrame(np.hstack(parts)).add_prefix("v")], axis=1)

    return Pair(
        side(table.train, [part.train for part in dense]), side(table.test, [part.test for part in dense])
    ) if dense else table  # fmt: skip


def _trees(numbers: bool, **options: float) -> Any:
    import lightgbm

    if numbers:
        return lightgbm.LGBMRegressor(
            n_estimators=300, num_leaves=15, learning_rate=0.05, min_child_samples=10, verbose=-1, n_jobs=1, **options
        )
    return lightgbm.LGBMClassifier(
        n_estimators=60, num_leaves=7, learning_rate=0.1, min_child_samples=10, verbose=-1, n_jobs=1
    )
