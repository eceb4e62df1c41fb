"""Reasons of answers: how much each cell of a row moved its answer, and which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.fusion.votes import Votes
from multimodal_algo.ingest.features import Features

if TYPE_CHECKING:
    from multimodal_algo.serving.loaded_model import LoadedModel, RowAnswer


def cell_effects(model: LoadedModel, features: Features, votes: Votes, guesses: np.ndarray) -> dict[str, np.ndarray]:
    """Return how much each cell moved the answer of its row, by the user's own name of the column.

    The effect is the answer minus the answer to the same row with this cell empty (occlusion, as in Zeiler and Fergus,
    2014, https://arxiv.org/abs/1311.2901). Texts and images are not encoded again, and only the branches (partial
    models) that read the column predict again. The effect of an empty cell is 0.

    Parameters
    ----------
    model
        The model that answered.
    features
        The rows.
    votes
        The votes of the model on the rows.
    guesses
        Index of the answered class of each row, int (rows,). All are 0 for a regression.

    Returns
    -------
    dict
        For each column the change of the probability of the answered class, or of the number, float64 (rows,). It is
        above 0 if the cell makes the class more likely, or the number larger.
    """
    rows, answers, effects = np.arange(len(features)), model.fuse(votes), {}
    for name, parts in model.names.grouped(model.schema.features).items():
        without = model.fuse(model.votes_without(parts, features, votes))
        effects[name] = (answers[rows, guesses] - without[rows, guesses]).astype(np.float64)
    return effects


def with_reasons(model: LoadedModel, features: Features, answers: Sequence[RowAnswer]) -> list[RowAnswer]:
    """Return the answers with their reasons: the effects of a row's cells, the largest first."""
    if not answers:
        return []
    guesses = np.array([int(row.answer.argmax()) if row.guess is None else row.guess for row in answers])
    effects = cell_effects(model, features, model.votes(features), guesses)
    names, values = list(effects), np.stack(list(effects.values()), axis=1)
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    return [
        replace(row, reasons={names[column]: float(values[number, column]) for column in order[number]})
        for number, row in enumerate(answers)
    ]
