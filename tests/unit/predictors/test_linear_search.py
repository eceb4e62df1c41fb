from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multimodal_algo.core.linear import Blocks, Linear
from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.predictors.linear_search import LinearSearch, LinearSetting

NOTHING = Linear(np.zeros((0, 1), np.float32), np.zeros(1, np.float32))


def search_numbers(noise: float) -> tuple[LinearSetting, float]:
    """Return the setting for 200 rows of 60 columns, and the squared error of new rows. Labels have variance 1."""
    generator = np.random.default_rng(0)
    columns = generator.normal(size=(2400, 60)).astype(np.float32) / np.float32(np.sqrt(60))
    numbers = np.sqrt(1 - noise) * columns.sum(axis=1) + np.sqrt(noise) * generator.normal(size=2400)
    numbers = numbers.astype(np.float32)

    def fitted(setting: LinearSetting) -> Linear:
        return fit_linear(Blocks.of_dense(columns[:200]), numbers[:200], n_classes=None, strength=setting.strength)

    def error(model: Linear, rows: slice) -> float:
        return float(((model.scores(Blocks.of_dense(columns[rows]))[:, 0] - numbers[rows]) ** 2).mean())

    held_out, new = slice(200, 400), slice(400, None)
    setting, model = LinearSearch(plain_weights=(1.0,)).run(fitted, lambda _, m: error(m, held_out), lambda: False)
    return setting, error(model, new)


def test_noisy_numbers_are_predicted_at_least_as_well_as_by_their_mean() -> None:
    setting, error = search_numbers(noise=0.95)
    assert setting.strength < 1
    assert error < 1.02


def test_numbers_without_noise_keep_the_weakest_penalty() -> None:
    setting, error = search_numbers(noise=0.0)
    assert setting.strength == 3
    assert error < 0.1


def tried(losses: Mapping[tuple[float, float], float], *, is_late: bool = False) -> tuple[LinearSetting, list]:
    """Return the choice between settings whose losses are known, and the settings in the order of their fits."""
    fits: list[tuple[float, float]] = []

    def fitted(setting: LinearSetting) -> Linear:
        fits.append((setting.strength, setting.plain))
        return NOTHING

    search = LinearSearch(strengths=(3.0, 1.0, 0.3), plain_weights=(1.0, 0.25))
    chosen, _ = search.run(fitted, lambda each, _: losses[each.strength, each.plain], lambda: is_late)
    return chosen, fits


def test_a_step_without_a_gain_ends_the_way_down() -> None:
    chosen, fits = tried({(3, 1): 0.5, (1, 1): 0.6, (3, 0.25): 0.4})
    assert chosen == LinearSetting(3, 0.25)
    assert fits == [(3, 1), (1, 1), (3, 0.25)]


def test_the_factor_is_chosen_at_the_best_penalty() -> None:
    chosen, _ = tried({(3, 1): 0.5, (1, 1): 0.4, (0.3, 1): 0.45, (1, 0.25): 0.41})
    assert chosen == LinearSetting(1, 1)


def test_when_the_time_is_up_one_fit_is_enough() -> None:
    chosen, fits = tried({(3, 1): 0.5}, is_late=True)
    assert chosen == LinearSetting(3, 1)
    assert fits == [(3, 1)]
