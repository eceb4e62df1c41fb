"""Texts are cut once in a process that fits, and their numbers are those of scikit-learn's TF-IDF."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.predictors import token_counts
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.linear_features import LinearFeatures
from multimodal_algo.predictors.tabular import AutoGluonPredictor
from multimodal_algo.predictors.token_counts import TokenCounts, counted, forget_counts, recalled
from multimodal_algo.predictors.tokens import Tokens, normalised, pieces_of, tokens_of
from multimodal_algo.predictors.word_features import WordFeatures

OPTIONS = {
    Tokens.WORDS: {"analyzer": tokens_of},
    Tokens.PIECES: {"analyzer": "char_wb", "ngram_range": (2, 5), "preprocessor": normalised},
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_counts()
    yield
    forget_counts()


def cells(rows: int, seed: int = 0) -> pd.Series:
    """Texts of words that are frequent, rare, in other scripts, repeated, or missing."""
    generator = np.random.default_rng(seed)
    words = [*(f"word{n}" for n in range(40)), "a", "Ärger", "東京都", "좋아요", "👍🏽", "x y", "…", "\u00a0"]
    return pd.Series([" ".join(generator.choice(words, generator.integers(0, 12))) for _ in range(rows)])


def dense(features: WordFeatures, texts: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(features.transform(texts).matrix().toarray(), columns=list(features._column_of))


@pytest.mark.parametrize("kind", Tokens)
def test_each_fold_has_the_numbers_of_scikit_learn(kind: Tokens) -> None:
    texts = cells(200)
    for fold in range(4):
        known, new = texts[np.arange(200) % 4 != fold], texts[np.arange(200) % 4 == fold]
        expected = TfidfVectorizer(sublinear_tf=True, min_df=2, dtype=np.float32, **OPTIONS[kind]).fit(known)
        found = WordFeatures(10_000, kind)
        found.fit(known)
        assert list(found._column_of) == expected.get_feature_names_out().tolist()
        for rows in (known, new):
            np.testing.assert_allclose(dense(found, rows), expected.transform(rows).toarray(), atol=2e-7)


@pytest.mark.parametrize("kind", Tokens)
def test_numbers_are_the_same_whether_cells_were_counted_before(kind: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    known, new = cells(120), cells(80, seed=1)
    counted(kind, list(cells(50, seed=2)))  # other tokens have the first numbers
    remembered = WordFeatures(60, kind)
    remembered.fit(known)
    expected = [dense(remembered, rows) for rows in (known, new)]
    served = pickle.loads(pickle.dumps(remembered))
    forget_counts()
    monkeypatch.setattr(token_counts, "available_bytes", lambda: 0)
    alone = WordFeatures(60, kind)
    alone.fit(known)
    for features in (served, alone):
        for rows, before in zip((known, new), expected, strict=True):
            pd.testing.assert_frame_equal(dense(features, rows), before, atol=1e-7)


def test_of_equally_frequent_tokens_the_first_in_the_alphabet_have_columns() -> None:
    texts = pd.Series(["z y x common", "y x z common", "common"])
    for order in ([0, 1, 2], [1, 0, 2]):
        forget_counts()
        features = WordFeatures(3, Tokens.WORDS)
        features.fit(texts.iloc[order])
        assert list(features._column_of) == ["common", "x", "y"]


@settings(deadline=None)
@given(st.text(max_size=12))
def test_the_pieces_of_a_text_are_those_of_scikit_learn(text: str) -> None:
    analyze = TfidfVectorizer(**OPTIONS[Tokens.PIECES]).build_analyzer()
    found = [piece for word in normalised(text).split() for piece in pieces_of(word)]
    assert sorted(found) == sorted(analyze(text))


@pytest.mark.parametrize("kind", Tokens)
def test_counts_do_not_outgrow_their_memory(kind: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "_LETTERS_AT_ONCE", 500)
    most = 60_000
    counts = TokenCounts(kind, most_bytes=most)
    texts = list(cells(400))
    assert counts.of(texts) is None
    assert most / 2 < counts.bytes < 1.5 * most
    assert counts.of(texts[:2]) is not None  # those that fitted are still there


def test_a_process_that_serves_counts_nothing() -> None:
    features = WordFeatures(100, Tokens.WORDS)
    features.fit(cells(40))
    forget_counts()
    features.transform(cells(40, seed=1))
    assert recalled(Tokens.WORDS, ["word1"]) is None


@pytest.mark.fits
def test_a_saved_model_has_no_counts_and_answers_alike_without_them(tmp_path: Path) -> None:
    labels = np.arange(120) % 3
    texts = [
        f"{text} class{label} {'unique' * 40}{row}"
        for row, (text, label) in enumerate(zip(cells(120), labels, strict=True))
    ]
    table = pd.DataFrame({"a_text": texts})
    models = {"WIDE": {"max_iter": 10, "pieces": True, "max_words": 50}}
    fit_settings = FitSettings("text", Task.of_classes(3), models, 0, tmp_path / "fit", Budget.starting_now(600))
    predictor, _ = AutoGluonPredictor.fit(table, labels, np.arange(120) % 3, fit_settings)
    predictor.save(tmp_path / "saved")
    before = predictor.predict(table)
    forget_counts()
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert not any(b"uniqueunique" in path.read_bytes() for path in files)
    np.testing.assert_allclose(AutoGluonPredictor.load(tmp_path / "saved").predict(table), before, atol=1e-6)


def test_less_time_is_needed_for_texts_that_are_counted() -> None:
    table = pd.DataFrame({"a_text": cells(100), "b_num": np.arange(100.0)})
    features = LinearFeatures(1000, with_pieces=True)
    before = features.seconds(table)
    features.fit_transform(table)
    assert 0 < features.seconds(table) < before / 2


def test_long_texts_need_memory_for_their_pieces() -> None:
    table = pd.DataFrame({"a_text": ["x" * 5000] * 50_000})
    assert LinearFeatures(1000).bytes(table) < 8 << 30 < LinearFeatures(1000, with_pieces=True).bytes(table)
