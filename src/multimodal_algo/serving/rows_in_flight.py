"""The rows of one request on their way through the model: they are parsed, queued and answered in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from multimodal_algo.core.memory import MemoryGate
from multimodal_algo.serving.batching import Batcher, ClientGone
from multimodal_algo.serving.decoding import Record

if TYPE_CHECKING:
    from multimodal_algo.ingest.rows import PendingRow
    from multimodal_algo.serving.loaded_model import LoadedModel, RowAnswer

# Number of batches of a request that are decoded while other batches of it are computed.
_BATCHES_AHEAD = 2
# A batch takes this part of the images' memory at most, if it has several rows.
_PARTS = 8


class _Batch(NamedTuple):
    """Rows of a request that are being computed, and the memory that their images take."""

    rows: list[int]
    future: Future[Sequence[RowAnswer]]
    size: int


class RowsInFlight:
    """Sends the rows of one request through the model, with limited memory for their images.

    Parameters
    ----------
    model
        The loaded model.
    batcher
        Merges the rows of all requests into batches.
    images
        Limits the memory that the decoded images of all requests take.
    is_gone
        Returns whether the client has left.
    """

    def __init__(
        self, model: LoadedModel, batcher: Batcher[Any, Any, RowAnswer], images: MemoryGate, is_gone: Callable[[], bool]
    ) -> None:
        self._model = model
        self._batcher = batcher
        self._images = images
        self._is_gone = is_gone
        self._pending: deque[_Batch] = deque()
        self._held = 0

    def results(
        self, records: Sequence[Record], indices: Sequence[int], on_row: Callable[[Any], None]
    ) -> Generator[tuple[int, RowAnswer | str], None, None]:
        """Yield the prediction for each record at `indices`, or the problem if it cannot be read.

        `on_row` is called with the parsed cells of each readable row. A caller that needs no more results closes the
        iterator.

        Raises
        ------
        ClientGone
            The client has left.
        """
        try:
            for batch, size in self._batches(records, indices):
                yield from self._make_room(size)
                rows, cells = [], []
                for index, parsed in zip(batch, self._parsed(records, batch), strict=True):
                    if parsed.problem is None:
                        rows.append(index)
                        cells.append(parsed.cells)
                        on_row(parsed.cells)
                    else:
                        yield index, parsed.problem
                if rows:
                    self._pending.append(_Batch(rows, self._batcher.submit(cells, self._is_gone), size))
                else:
                    self._release(size)
            while self._pending:
                yield from self._finish_first()
        finally:
            self._images.give_back(self._held)

    def _batches(self, records: Sequence[Record], indices: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        """Yield the record indices of each batch, and the memory that its images take."""
        batch: list[int] = []
        size, most_bytes = 0, self._images.total // _PARTS
        for index in indices:
            added = self._model.image_bytes(records[index].cells)
            if batch and (len(batch) == self._batcher.max_rows or size + added > most_bytes):
                yield batch, size
                batch, size = [], 0
            batch.append(index)
            size = min(size + added, self._images.total)
        if batch:
            yield batch, size

    def _make_room(self, size: int) -> Iterator[tuple[int, RowAnswer | str]]:
        """Wait until there is memory for `size` bytes of images.

        Results of previous batches are yielded first if that is necessary to free memory.
        """
        if len(self._pending) >= _BATCHES_AHEAD:
            yield from self._finish_first()
        if not self._images.take(size, waits=False):
            # A request that waits holds nothing. Otherwise requests could wait for each other.
            while self._pending:
                yield from self._finish_first()
            self._images.take(size)
        self._held += size

    def _parsed(self, records: Sequence[Record], batch: Sequence[int]) -> Iterator[Any]:
        parsing: list[PendingRow] = self._model.start([records[index].cells for index in batch])
        try:
            for row in parsing:
                if self._is_gone():
                    raise ClientGone
                yield row.finish()
        finally:
            for row in parsing:
                row.cancel()

    def _finish_first(self) -> Iterator[tuple[int, RowAnswer | str]]:
        batch = self._pending.popleft()
        answers = batch.future.result()
        self._release(batch.size)
        yield from zip(batch.rows, answers, strict=True)

    def _release(self, size: int) -> None:
        self._held -= size
        self._images.give_back(size)
