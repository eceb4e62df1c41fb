"""Batching: rows of concurrent requests are computed together.

A request submits a few rows at a time. Rows that arrive while one batch is computed form the next batch. No batch waits
until it is full, so a single row is answered at once, and under load the batches grow by themselves. The frozen
networks run in one thread, and the models that use their vectors in another. So the vectors of the next batch are
computed while this batch is answered.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from multimodal_algo.core.errors import PlatformError

Row = TypeVar("Row")
Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")


class Busy(PlatformError):
    """Error for requests to a model that hangs. Another process takes the place of this one."""


class ClientGone(Exception):
    """Error for rows of a client that has closed its connection. These rows are not computed."""


class _PendingCall(Generic[Row, Answer]):
    """The rows of one call of `Batcher.submit`, and the future that gets their answers."""

    def __init__(self, rows: Sequence[Row], is_gone: Callable[[], bool]) -> None:
        self.rows = rows
        self.is_gone = is_gone
        self.future: Future[Sequence[Answer]] = Future()


class Batcher(Generic[Row, Prepared, Answer]):
    """Merges the rows of concurrent calls into batches.

    Parameters
    ----------
    prepare
        First step for a batch: the networks compute vectors. It returns the input of the second step.
    finish
        Second step for a batch: the models answer. It returns one answer per row.
    max_rows
        Largest number of rows in a batch, and in a call.
    """

    def __init__(
        self, prepare: Callable[[list[Row]], Prepared], finish: Callable[[Prepared], Sequence[Answer]], max_rows: int
    ) -> None:
        self.max_rows = max_rows
        self._prepare = prepare
        self._finish = finish
        self._waiting: deque[_PendingCall[Row, Answer]] = deque()
        self._changed = threading.Condition()
        self._prepared: queue.Queue[tuple[list[_PendingCall[Row, Answer]], Prepared | None]] = queue.Queue(maxsize=1)
        self._open: set[_PendingCall[Row, Answer]] = set()
        self._abandoned: Exception | None = None
        self._began: dict[str, float] = {}
        for step in (self._prepare_all, self._finish_all):
            threading.Thread(target=step, name=step.__name__.strip("_"), daemon=True).start()

    def submit(self, rows: Sequence[Row], is_gone: Callable[[], bool] = lambda: False) -> Future[Sequence[Answer]]:
        """Queue at most `max_rows` rows. The result of the future is one answer per row, in order.

        If `is_gone` returns True when it is the rows' turn, they are not computed, and the future fails with
        `ClientGone`.

        Raises
        ------
        Busy
            The model hangs, and the method `abandon` was called.
        """
        call: _PendingCall[Row, Answer] = _PendingCall(rows, is_gone)
        with self._changed:
            if self._abandoned is not None:
                raise self._abandoned
            self._waiting.append(call)
            self._open.add(call)
            self._changed.notify()
        return call.future

    @property
    def busy_s(self) -> float:
        """Seconds for which the slower of the two steps has been at its present batch. 0 if both steps are idle."""
        now = time.monotonic()
        return max((now - began for began in list(self._began.values())), default=0.0)

    def abandon(self, error: Exception) -> None:
        """Make all waiting and future calls fail with `error`."""
        with self._changed:
            self._abandoned = error
            calls, self._open = self._open, set()
        for call in calls:
            call.future.set_exception(error)

    def _prepare_all(self) -> None:
        while True:
            calls = self._next()
            self._began["prepare"] = time.monotonic()
            try:
                prepared: Prepared | None = self._prepare([row for call in calls for row in call.rows])
            except Exception:
                prepared = None
            self._began.pop("prepare")
            self._prepared.put((calls, prepared))

    def _finish_all(self) -> None:
        while True:
            calls, prepared = self._prepared.get()
            self._began["finish"] = time.monotonic()
            try:
                if prepared is None:
                    raise RuntimeError("the first step failed")
                self._resolve(calls, self._finish(prepared))
            except Exception:
                self._one_by_one(calls)
            self._began.pop("finish")

    def _one_by_one(self, calls: Sequence[_PendingCall[Row, Answer]]) -> None:
        """Compute each call of a failed batch alone, so that no call fails because of another call's rows."""
        for call in calls:
            try:
                self._resolve([call], self._finish(self._prepare(list(call.rows))))
            except Exception as error:
                if self._close(call):
                    call.future.set_exception(error)

    def _resolve(self, calls: Sequence[_PendingCall[Row, Answer]], answers: Sequence[Answer]) -> None:
        """Give each call its own part of the batch's answers."""
        rows = sum(len(call.rows) for call in calls)
        if len(answers) != rows:
            raise RuntimeError(f"{len(answers)} answers for {rows} rows")
        start = 0
        for call in calls:
            if self._close(call):
                call.future.set_result(answers[start : start + len(call.rows)])
            start += len(call.rows)

    def _close(self, call: _PendingCall[Row, Answer]) -> bool:
        """Remove a call from the open ones. Return False if it was abandoned or has been answered."""
        with self._changed:
            is_open = call in self._open
            self._open.discard(call)
            return is_open

    def _next(self) -> list[_PendingCall[Row, Answer]]:
        """Wait for calls, and return those of the next batch."""
        with self._changed:
            while not self._is_one_waiting():
                self._changed.wait()
            calls = [self._waiting.popleft()]
            rows = len(calls[0].rows)
            while self._is_one_waiting() and rows + len(self._waiting[0].rows) <= self.max_rows:
                calls.append(self._waiting.popleft())
                rows += len(calls[-1].rows)
            return calls

    def _is_one_waiting(self) -> bool:
        """Return whether a call is waiting.

        Calls at the front of the queue whose clients have left are dropped first.
        """
        while self._waiting and self._waiting[0].is_gone():
            call = self._waiting.popleft()
            self._open.discard(call)
            call.future.set_exception(ClientGone())
        return bool(self._waiting)
