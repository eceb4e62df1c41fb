from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.branches.base import BranchModel, TrainingRows
from multimodal_algo.branches.text import TextModel, TextVectorsModel
from multimodal_algo.config.recipes import RECIPES, Branch
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.predictors.base import FitSettings

LABELS = np.arange(60) % 2


def rows(words: np.ndarray) -> Features:
    """Texts whose words are as given, and whose vectors show the class."""
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float16)
    vectors[:, 0] += 3 * LABELS
    return Features({"a_text": words.astype(object)}, 60, {"a_text": VectorColumn(vectors, np.arange(60))})


@pytest.mark.fits
@pytest.mark.parametrize(("model_class", "reads_words"), [(TextModel, True), (TextVectorsModel, False)])
def test_votes_by_vectors_do_not_depend_on_words(
    model_class: type[BranchModel], reads_words: bool, tmp_path: Path
) -> None:
    words = np.array(["red apple", "green pear"])[LABELS]
    model = model_class("text", ("a_text",), Task.of_classes(2))
    models = RECIPES["very_light"].models[Branch.TEXT_VECTORS]
    settings = FitSettings("text", model.task, models, 0, tmp_path, Budget.starting_now(600))
    model.fit(TrainingRows(rows(words), LABELS, np.arange(60) % 3), settings, min_completeness=0.5)
    votes = model.predict(rows(words), min_completeness=0.5)
    others = model.predict(rows(words[::-1]), min_completeness=0.5)
    assert (votes[:, :2].argmax(axis=1) == LABELS).mean() > 0.9
    assert bool(np.abs(votes - others).max() > 0.01) is reads_words
