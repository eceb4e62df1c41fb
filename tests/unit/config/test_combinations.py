from __future__ import annotations

import pytest

from multimodal_algo.config.combinations import JobInput, require_possible
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.core.errors import UserError

TRAIN, MODEL = frozenset({"train"}), frozenset({"train", "model"})


@pytest.mark.parametrize(
    ("hyperparameters", "job", "message"),
    [
        ({}, JobInput(TRAIN, piped=TRAIN, hosts=2), "comes by Pipe, which several instances cannot share"),
        ({"distribution": "off"}, JobInput(TRAIN, sharded=TRAIN, hosts=2), "distribution=off trains on one host"),
        ({"distill_from": "model"}, JobInput(TRAIN), "the job has no model channel"),
        ({"distill_from": "model"}, JobInput(MODEL, piped=TRAIN), "which Pipe mode does not allow"),
    ],
)
def test_what_training_cannot_honour_is_refused(hyperparameters: dict[str, str], job: JobInput, message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_possible(HyperParameters.parse(hyperparameters), job)


@pytest.mark.parametrize(
    ("hyperparameters", "job"),
    [
        ({}, JobInput(TRAIN, piped=TRAIN)),
        ({"distribution": "off"}, JobInput(TRAIN, piped=TRAIN, hosts=2)),
        ({}, JobInput(TRAIN, sharded=TRAIN, hosts=2)),
        ({"distribution": "off"}, JobInput(TRAIN, sharded=TRAIN)),
        ({"distill_from": "model"}, JobInput(MODEL)),
    ],
)
def test_the_rest_is_not(hyperparameters: dict[str, str], job: JobInput) -> None:
    require_possible(HyperParameters.parse(hyperparameters), job)
