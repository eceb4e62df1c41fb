from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from multimodal_algo.artifact import BranchEntry
from multimodal_algo.config.recipes import Branch
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.serving.sizing import batch_rows, execution_parameters, most_body_bytes, processes


def config(*columns: str, branch: Branch = Branch.TEXT, largest_row: int = 0, outputs: int = 2) -> Any:
    entry = BranchEntry(name="x", branch=branch, columns=columns)
    return SimpleNamespace(
        schema_=FeatureSchema((*columns, "label")),
        branches=(entry,),
        largest_row=largest_row,
        task=SimpleNamespace(outputs=outputs),
    )


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("single_record", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        config("a_text"),
        config("a_image", largest_row=9 << 20),
        config("a_image", largest_row=200 << 20),
        config("a_num"),
        config("a_text", branch=Branch.TEXT_FINE_TUNED),
    ],
)
def test_payload_times_concurrency_is_at_most_the_platforms_limit(
    model: Any, has_gpu: bool, single_record: bool
) -> None:
    answer = execution_parameters(model, has_gpu=has_gpu, single_record=single_record)
    assert set(answer) == {"MaxConcurrentTransforms", "MaxPayloadInMB"}
    assert 0 < answer["MaxConcurrentTransforms"] * answer["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("single_record", [False, True])
def test_rows_as_large_as_those_of_training_fit_into_a_payload(has_gpu: bool, single_record: bool) -> None:
    model = config("a_text", "b_image", largest_row=7 << 20)
    answer = execution_parameters(model, has_gpu=has_gpu, single_record=single_record)
    assert answer["MaxPayloadInMB"] >= 2 * 7


def test_small_single_records_are_sent_in_many_requests_at_once() -> None:
    small, unknown = config("b_image", largest_row=6000), config("b_image")
    parameters = [execution_parameters(model, has_gpu=False, single_record=True) for model in (small, unknown)]
    assert [answer["MaxConcurrentTransforms"] for answer in parameters] == [64, 16]


def test_slow_models_with_small_rows_get_fewer_bytes_at_a_time() -> None:
    def in_flight(model: Any) -> int:
        answer = execution_parameters(model, has_gpu=False, single_record=False)
        return answer["MaxConcurrentTransforms"] * answer["MaxPayloadInMB"]

    assert in_flight(config("a_text")) < in_flight(config("a_text", "b_image"))
    assert in_flight(config("a_text", branch=Branch.TEXT_FINE_TUNED)) < in_flight(config("a_text"))


def test_a_batch_of_slow_models_is_small() -> None:
    fine_tuned = config("a_text", branch=Branch.TEXT_FINE_TUNED)
    assert batch_rows(fine_tuned, has_gpu=False, is_batch=True) < batch_rows(fine_tuned, has_gpu=True, is_batch=True)
    assert batch_rows(config("a_text"), has_gpu=False, is_batch=False) < batch_rows(
        config("a_text"), has_gpu=False, is_batch=True
    )


def test_batches_of_models_without_networks_are_large_unless_there_are_many_classes() -> None:
    few, many = (config("a_num", "b_cat", outputs=outputs) for outputs in (2, 10_000))
    rows = [batch_rows(model, has_gpu=False, is_batch=True) for model in (few, many, config("a_num", "b_text"))]
    assert rows[0] > rows[2] > rows[1] >= 64


@pytest.mark.parametrize(
    ("columns", "gpus", "cores", "free_gb", "expected"),
    [
        (("a_num",), 0, 8, 100, 8),
        (("a_num", "b_cat"), 0, 8, 3, 3),
        (("a_num",), 0, 8, 0, 1),
        (("a_num",), 4, 8, 100, 4),
        (("a_num", "b_text"), 0, 8, 100, 1),
        (("a_image",), 2, 8, 100, 2),
    ],
)
def test_models_without_networks_get_a_process_per_core_as_far_as_memory_allows(
    columns: tuple[str, ...], gpus: int, cores: int, free_gb: int, expected: int
) -> None:
    assert processes(config(*columns), gpus=gpus, cores=cores, free_bytes=free_gb << 30) == expected


def test_the_largest_body_of_the_platform_is_read() -> None:
    assert most_body_bytes(is_batch=True, payload_mb=None) > 100 << 20
    assert most_body_bytes(is_batch=True, payload_mb=0) > 500 << 20
    assert 25 << 20 < most_body_bytes(is_batch=False, payload_mb=None) < 30 << 20
