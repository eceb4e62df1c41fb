from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from multimodal_algo.serving.batching import Batcher, Busy, ClientGone

MAX_ROWS = 8


class Device:
    """Doubles numbers as soon as it may, and records its batches."""

    def __init__(self) -> None:
        self.is_free = threading.Event()
        self.batches: list[list[int]] = []

    def prepare(self, rows: list[int]) -> list[int]:
        self.is_free.wait()
        self.batches.append(rows)
        if 13 in rows:
            raise RuntimeError("13")
        return rows

    def finish(self, rows: list[int]) -> Sequence[int]:
        return [2 * row for row in rows]

    def batcher(self) -> Batcher[int, list[int], int]:
        return Batcher(self.prepare, self.finish, MAX_ROWS)


def test_calls_are_merged_up_to_the_limit_and_each_gets_its_own_answers() -> None:
    device = Device()
    batcher = device.batcher()
    calls = [[number] * (number % 3 + 1) for number in range(12)]
    futures = [batcher.submit(call) for call in calls]
    device.is_free.set()
    assert [list(future.result()) for future in futures] == [[2 * row for row in call] for call in calls]
    assert [row for batch in device.batches for row in batch] == [row for call in calls for row in call]
    assert max(map(len, device.batches)) <= MAX_ROWS
    assert len(device.batches) < len(calls)


def test_many_threads_get_their_own_answers() -> None:
    device = Device()
    device.is_free.set()
    batcher = device.batcher()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: batcher.submit([number]).result(), range(100, 1100)))
    assert answers == [[2 * number] for number in range(100, 1100)]


def test_no_call_fails_for_the_rows_of_another() -> None:
    device = Device()
    batcher = device.batcher()
    first = batcher.submit([0])
    good, bad, other = batcher.submit([1, 2]), batcher.submit([13]), batcher.submit([3])
    device.is_free.set()
    assert list(first.result()) == [0]
    assert list(good.result()) == [2, 4]
    assert list(other.result()) == [6]
    with pytest.raises(RuntimeError, match="13"):
        bad.result()


def test_an_abandoned_batcher_answers_all_calls_with_the_reason() -> None:
    device = Device()
    batcher = device.batcher()
    waiting: list[Future[Sequence[int]]] = [batcher.submit([1]), batcher.submit([2])]
    while batcher.busy_s == 0:
        pass
    batcher.abandon(Busy("it hangs"))
    for future in waiting:
        with pytest.raises(Busy, match="it hangs"):
            future.result()
    with pytest.raises(Busy):
        batcher.submit([3])
    device.is_free.set()


def test_rows_of_a_client_that_has_left_are_not_computed() -> None:
    device = Device()
    batcher = device.batcher()
    first = batcher.submit([0])
    left, other = batcher.submit([1, 2], lambda: True), batcher.submit([3])
    device.is_free.set()
    assert (list(first.result()), list(other.result())) == ([0], [6])
    with pytest.raises(ClientGone):
        left.result()
    assert not {1, 2} & {row for batch in device.batches for row in batch}
