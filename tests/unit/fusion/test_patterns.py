from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.fit import FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import OutOfFold, stratified_folds
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.patterns import partial_patterns
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes

BRANCHES = {"text": ["a_text"], "num": ["b_num"], "cat": ["c_cat"], "joint": ["a_text", "b_num", "c_cat"]}


def test_a_pattern_is_partial_where_a_branch_lacks_one_of_its_modalities() -> None:
    columns = list(BRANCHES.values())
    assert partial_patterns([(0, 1, 2, 3), (0, 1, 3), (0, 1), (3,)], columns) == {(0, 1, 3), (3,)}
    # The branches of a previous model have no vote where it knows the rows. This does not make `joint` partial.
    assert not partial_patterns([(0, 1, 2, 3)], [*columns, ["a_text"], BRANCHES["joint"]])


def votes(rows: int, without_text: float, seed: int) -> tuple[Votes, np.ndarray]:
    """Votes where text and joint are sure and mostly right, and joint is wrong and sure where the text is missing."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows)
    is_without = generator.random(rows) < without_text
    vectors = np.zeros((rows, 4, 4), dtype=np.float32)
    for branch, right in enumerate((0.9, 0.6, 0.6, 0.95)):
        rights = np.where(is_without, 0.34, right) if branch == 3 else np.full(rows, right)
        answer = np.where(generator.random(rows) < rights, labels, generator.integers(0, 3, rows))
        vectors[:, branch, :3] = np.eye(3)[answer] * 0.85 + 0.05
    vectors[is_without, 0] = np.eye(4)[3]
    return Votes(vectors), labels


def fit(known: Votes, labels: np.ndarray) -> Fusion:
    rows = OutOfFold(known, labels, stratified_folds(labels, 3, seed=0))
    selector, budget = Selector(Task.of_classes(3), "log_loss"), Budget.starting_now(60)
    return fit_fusion(rows, BRANCHES, selector=selector, settings=FusionSettings(max_epochs=5), budget=budget)[0]


@pytest.mark.fits
@pytest.mark.parametrize("share", [0.2, 0.0])
def test_a_vote_without_a_modality_counts_as_much_as_it_is_worth(share: float, tmp_path: Path) -> None:
    fusion = fit(*votes(1500, share, seed=0))
    asked, labels = votes(1500, 1.0, seed=1)
    answers = fusion.predict(asked)
    without_joint = fusion.predict(asked.silence(slice(None), [3]))
    loss, least = (float(-np.log(each[np.arange(1500), labels]).mean()) for each in (answers, without_joint))
    assert loss < least + 0.02
    fusion.save(tmp_path / "fusion")
    np.testing.assert_allclose(Fusion.load(tmp_path / "fusion").predict(asked), answers, atol=1e-6)
