"""Rows of concurrent requests, computed together.

A request hands in a few rows at a time. What has come while the last batch was computed makes the next one: nothing
waits for a batch to fill up, so a single row is answered at once, and under load batches grow by themselves. Networks
and what follows them run in a thread each, so that a device is not idle while answers are made of its last vectors.
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
    """The model does not answer; another process takes its place."""


class _Job(Generic[Row, Answer]):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.future: Future[Sequence[Answer]] = Future()


class Batcher(Generic[Row, Prepared, Answer]):
    """Merges the rows of concurrent calls into batches.

    Parameters
    ----------
    prepare
        The first step of a batch: what the device does.
    finish
        The second step: an answer per row.
    most
        Rows of a batch; a call may hand in as many.
    """

    def __init__(
        self, prepare: Callable[[list[Row]], Prepared], finish: Callable[[Prepared], Sequence[Answer]], most: int
    ) -> None:
        self.most = most
        self._prepare = prepare
        self._finish = finish
        self._waiting: deque[_Job[Row, Answer]] = deque()
        self._changed = threading.Condition()
        self._prepared: queue.Queue[tuple[list[_Job[Row, Answer]], Prepared | None]] = queue.Queue(maxsize=1)
        self._open: set[_Job[Row, Answer]] = set()
        self._abandoned: Exception | None = None
        self._began: dict[str, float] = {}
        for step in (self._prepare_all, self._finish_all):
            threading.Thread(target=step, name=step.__name__.strip("_"), daemon=True).start()

    def submit(self, rows: Sequence[Row]) -> Future[Sequence[Answer]]:
        """Queue at most `most` rows; the result has an answer for each, in order.

        Raises
        ------
        Busy
            After `abandon`.
        """
        job: _Job[Row, Answer] = _Job(rows)
        with self._changed:
            if self._abandoned is not None:
                raise self._abandoned
            self._waiting.append(job)
            self._open.add(job)
            self._changed.notify()
        return job.future

    @property
    def busy_s(self) -> float:
        """How long the step that has run longest has been at its present batch, in seconds."""
        now = time.monotonic()
        return max((now - began for began in list(self._began.values())), default=0.0)

    def abandon(self, error: Exception) -> None:
        """Let all calls, waiting and to come, fail with `error`."""
        with self._changed:
            self._abandoned = error
            jobs, self._open = self._open, set()
        for job in jobs:
            job.future.set_exception(error)

    def _prepare_all(self) -> None:
        while True:
            jobs = self._next()
            self._began["prepare"] = time.monotonic()
            try:
                prepared: Prepared | None = self._prepare([row for job in jobs for row in job.rows])
            except Exception:
                prepared = None
            self._began.pop("prepare")
            self._prepared.put((jobs, prepared))

    def _finish_all(self) -> None:
        while True:
            jobs, prepared = self._prepared.get()
            self._began["finish"] = time.monotonic()
            try:
                if prepared is None:
                    raise RuntimeError("the first step failed")
                self._tell(jobs, self._finish(prepared))
            except Exception:
                self._one_by_one(jobs)
            self._began.pop("finish")

    def _one_by_one(self, jobs: Sequence[_Job[Row, Answer]]) -> None:
        """After a failure: no call fails for another's rows."""
        for job in jobs:
            try:
                self._tell([job], self._finish(self._prepare(list(job.rows))))
            except Exception as error:
                if self._closed(job):
                    job.future.set_exception(error)

    def _tell(self, jobs: Sequence[_Job[Row, Answer]], answers: Sequence[Answer]) -> None:
        if len(answers) != sum(len(job.rows) for job in jobs):
            raise RuntimeError(f"{len(answers)} answers to {sum(len(job.rows) for job in jobs)} rows")
        start = 0
        for job in jobs:
            if self._closed(job):
                job.future.set_result(answers[start : start + len(job.rows)])
            start += len(job.rows)

    def _closed(self, job: _Job[Row, Answer]) -> bool:
        """Take a job off the open ones; False where it was abandoned, or has its answer."""
        with self._changed:
            is_open = job in self._open
            self._open.discard(job)
            return is_open

    def _next(self) -> list[_Job[Row, Answer]]:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            jobs = [self._waiting.popleft()]
            rows = len(jobs[0].rows)
            while self._waiting and rows + len(self._waiting[0].rows) <= self.most:
                jobs.append(self._waiting.popleft())
                rows += len(jobs[-1].rows)
            return jobs
