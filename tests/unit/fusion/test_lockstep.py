from __future__ import annotations

import numpy as np
import pytest
import torch

from multimodal_algo.config.recipes import NetworkSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.combiners import Pool
from multimodal_algo.fusion.fit import FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import HeldOut, OutOfFold, stratified_folds
from multimodal_algo.fusion.known import KnownRows
from multimodal_algo.fusion.lockstep import Examples, Lockstep, Member
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern
from multimodal_algo.fusion.search import NetworkSearch, Split
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes

FULL, PAIR = (0, 1, 2), (0, 2)
COLUMNS = [["a_text"], ["b_num"], ["c_cat"]]


def votes(rows: int, seed: int, classes: int = 3) -> tuple[Votes, np.ndarray]:
    """Votes of three branches. The first calls class 1 class 0 where the second is sure, which a pool cannot know."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    vectors = np.zeros((rows, 3, classes + 1), dtype=np.float32)
    is_swapped = generator.random(rows) < 0.5
    for branch in range(3):
        answers = np.where(generator.random(rows) < 0.8, labels, generator.integers(0, classes, rows))
        if branch == 0:
            answers = np.where(is_swapped, (answers + 1) % classes, answers)
        vectors[:, branch, :classes] = 0.1 / classes + 0.9 * np.eye(classes)[answers]
    vectors[:, 1, :classes] = np.where(is_swapped[:, None], 0.7, 1.0) * vectors[:, 1, :classes]
    vectors[:, 1, :classes] += (1 - vectors[:, 1, :classes].sum(axis=1, keepdims=True)) / classes
    return Votes(vectors), labels


def lockstep(known: Votes, labels: np.ndarray, members: list[np.ndarray], *, seed: int = 0) -> Lockstep:
    patterns: list[Pattern] = [FULL, PAIR]
    pools = {pattern: Pool.fit(known.probabilities(slice(None), pattern), labels) for pattern in patterns}
    return Lockstep(
        Examples.of(known, patterns),
        labels,
        [Member(rows, pools) for rows in members],
        patterns,
        repeated=[PAIR],
        seed=seed,
        settings=NetworkSettings(batch_size=32),
    )


def test_networks_that_are_trained_together_learn_what_each_learns_alone() -> None:
    known, labels = votes(240, seed=0)
    halves = [np.arange(120), np.arange(120, 240)]
    together = lockstep(known, labels, halves)
    alone = [lockstep(known, labels, [half]) for half in halves]
    for one in (together, *alone):
        for _ in range(3):
            one.train_epoch()
    for number, single in enumerate(alone):
        expected = single.layers_for(0, FULL)
        for name, value in together.layers_for(number, FULL).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)
    assert np.abs(together.layers_for(0, FULL)["6.weight"] - together.layers_for(1, FULL)["6.weight"]).max() > 1e-3


def test_members_of_different_sizes_all_learn() -> None:
    known, labels = votes(240, seed=0)
    networks = lockstep(known, labels, [np.arange(40), np.arange(240)])
    networks.train_epoch()
    for member in range(2):
        assert np.abs(networks.layers_for(member, FULL)["6.weight"]).max() > 0


def test_the_seed_decides_what_is_learned() -> None:
    known, labels = votes(120, seed=0)
    first, again, other = (lockstep(known, labels, [np.arange(120)], seed=seed) for seed in (3, 3, 4))
    for one in (first, again, other):
        one.train_epoch()
    weights = [one.layers_for(0, FULL)["6.weight"] for one in (first, again, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 0


@pytest.mark.parametrize("pattern", [FULL, PAIR])
def test_the_network_of_a_pattern_answers_as_it_did_in_training(pattern: Pattern) -> None:
    known, labels = votes(120, seed=0)
    networks = lockstep(known, labels, [np.arange(120)])
    networks.train_epoch()
    missing = [branch for branch in FULL if branch not in pattern]
    examples = Examples.of(known.silence(slice(None), missing), [FULL, PAIR])
    expected = np.exp(networks.log_probabilities(0, examples.inputs, examples.patterns))
    vectors = known.probabilities(slice(None), pattern)
    network = Network(Pool.fit(vectors, labels), networks.layers_for(0, pattern))
    np.testing.assert_allclose(network.predict(vectors), expected, atol=1e-5)


def search(known: Votes, labels: np.ndarray, rows: int) -> tuple[bool, KnownRows]:
    """Train networks on the first `rows` rows, and measure them on the others."""
    training = OutOfFold(known.take(np.arange(rows)), labels[:rows], np.zeros(rows, dtype=np.int64))
    asked = np.arange(rows, len(labels))
    final = KnownRows(training, np.arange(rows), COLUMNS)
    networks = NetworkSearch(
        training,
        HeldOut(known.take(asked), labels[asked]),
        [Split(final, np.arange(len(asked)))],
        final,
        [FULL, PAIR],
        COLUMNS,
        FusionSettings(max_epochs=30, network=NetworkSettings(learning_rate=0.01)),
    )
    return networks.run(Budget.starting_now(60)), final


@pytest.mark.fits
def test_a_pattern_has_a_network_where_held_out_rows_gain() -> None:
    gains, known = search(*votes(2400, seed=0), rows=1200)
    assert gains
    assert isinstance(known.fit(Network, FULL), Network)


@pytest.mark.fits
def test_a_pool_stands_for_a_network_that_does_not_gain() -> None:
    generator = np.random.default_rng(0)
    noise = generator.dirichlet(np.ones(3), size=(400, 3)).astype(np.float32)
    gains, known = search(Votes(np.pad(noise, ((0, 0), (0, 0), (0, 1)))), generator.integers(0, 3, 400), rows=200)
    assert not gains
    assert known.fit(Network, FULL) is known.pool(FULL)


@pytest.mark.fits
def test_few_rows_train_no_network() -> None:
    known, labels = votes(60, seed=0, classes=8)
    _, _, choice = fit_fusion(
        OutOfFold(known, labels, stratified_folds(labels, 3, seed=0)),
        {"text": COLUMNS[0], "num": COLUMNS[1], "cat": COLUMNS[2]},
        selector=Selector(Task.of_classes(8), "log_loss"),
        settings=FusionSettings(max_epochs=10),
        budget=Budget.starting_now(60),
    )
    assert "network" not in choice.losses
    assert "pool" in choice.losses


@pytest.mark.fits
def test_the_number_of_cores_does_not_change_the_fusion() -> None:
    known, labels = votes(400, seed=0)
    known = known.silence(np.arange(400) % 5 == 0, [1])
    before, answers = torch.get_num_threads(), []
    try:
        for cores in (1, 3):
            torch.set_num_threads(cores)
            fusion, _, _ = fit_fusion(
                OutOfFold(known, labels, stratified_folds(labels, 3, seed=0)),
                {"text": COLUMNS[0], "num": COLUMNS[1], "cat": COLUMNS[2]},
                selector=Selector(Task.of_classes(3), "log_loss"),
                settings=FusionSettings(max_epochs=10),
                budget=Budget.starting_now(60),
            )
            answers.append(fusion.predict(known))
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
