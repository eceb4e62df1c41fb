"""A request's way through the server: decode, predict, encode, and what becomes of bad rows."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multimodal_algo.config.inference import Field, InferenceOptions
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.serving.batching import Batcher, Busy
from multimodal_algo.serving.decoding import Header, Kind, Record, decode
from multimodal_algo.serving.encoding import Answer, encode

if TYPE_CHECKING:
    from multimodal_algo.ingest.features import Features
    from multimodal_algo.serving.loaded_model import LoadedModel, RowAnswer

_LOG = logging.getLogger(__name__)

_LOGGED_PROBLEMS = 10
# Batches of a request that are decoded while others of it are computed.
_AHEAD = 2
_DIGITS = 6


@dataclass(frozen=True)
class Loaded:
    """What a server serves, and most rows that it computes at once."""

    predictor: LoadedModel
    options: InferenceOptions
    batch_rows: int = 64


@dataclass
class Counts:
    """What was served so far."""

    requests: int = 0
    rows: int = 0
    bad_rows: int = 0


class ModelService:
    """Loads the models in the background and answers bodies; calls wait until they are loaded.

    Parameters
    ----------
    load_model
        Loads the models; called once, in the background.
    since_start
        Seconds since the server was started, for the log.
    """

    def __init__(self, load_model: Callable[[], Loaded], since_start: Callable[[], float]) -> None:
        self._load_model = load_model
        self._since_start = since_start
        self._loaded = threading.Event()
        self._model: Loaded | None = None
        self._batcher: Batcher[Any, Features, RowAnswer] | None = None
        self._failure: str | None = None
        self._counting = threading.Lock()
        self.counts = Counts()

    @property
    def failure(self) -> str | None:
        """Why nothing can be served; None while loading and when all is well."""
        return self._failure

    @property
    def busy_s(self) -> float:
        """How long the model has been at its present batch, in seconds."""
        return 0.0 if self._batcher is None else self._batcher.busy_s

    def load(self) -> bool:
        """Load the models; False, after the reason was logged, when that is impossible."""
        try:
            self._model = self._load_model()
            predictor, with_weights = self._model.predictor, Field.MODALITY_WEIGHTS in self._model.options.fields
            self._batcher = Batcher(
                predictor.encode,
                lambda features: predictor.answer(features, with_weights=with_weights),
                self._model.batch_rows,
            )
            _LOG.info("ready %.1f s after the start", self._since_start())
        except (UserError, PlatformError) as error:
            self._failure = f"The model cannot be served: {error}"
            _LOG.error("%s", self._failure)
        except Exception as error:
            self._failure = f"The model cannot be served: {type(error).__name__} while loading it; the log has more."
            _LOG.exception("The model cannot be served: a bug")
        self._loaded.set()
        return self._failure is None

    def wait(self) -> Loaded:
        """What is served, once it is loaded.

        Raises
        ------
        PlatformError
            It could not be loaded.
        """
        self._loaded.wait()
        if self._model is None:
            raise PlatformError(self._failure)
        return self._model

    def give_up(self, reason: str) -> None:
        """Answer all requests, waiting and to come, that the model hangs."""
        self._failure = reason
        if self._batcher is not None:
            self._batcher.abandon(Busy(reason))

    def answer(
        self, body: bytes, kind: Kind, accepted: Kind, *, charset: str = "utf-8", header: Header = Header.AUTO
    ) -> bytes:
        """One answer per record of `body`, in order.

        Parameters
        ----------
        body, kind, charset, header
            See `decode`.
        accepted
            What the answers are told as.

        Raises
        ------
        UserError
            A body whose records cannot be told apart. Bad rows, if they are refused; or most of several rows are bad,
            which is a systematic mistake.
        PlatformError
            The models could not be loaded, or hang.
        """
        model = self.wait()
        decoded = decode(body, kind, model.predictor.schema, charset=charset, header=header)
        del body
        records = decoded.records
        problems = {place: record.problem for place, record in enumerate(records) if record.problem}
        answers: dict[int, RowAnswer] = {}
        if not problems or not model.options.refuse_bad_rows:
            good = [place for place, record in enumerate(records) if not record.problem and not record.is_header]
            for place, told in self._answers(model, records, good):
                if isinstance(told, str):
                    problems[place] = told
                else:
                    answers[place] = told
        self._judge(records, problems, refuse=model.options.refuse_bad_rows)
        told_all = (
            {} if record.is_header else _told(model, record, answers.get(place), problems.get(place))
            for place, record in enumerate(records)
        )
        return encode(told_all, model.options.fields, accepted, is_single=decoded.is_single)

    def _answers(
        self, model: Loaded, records: Sequence[Record], places: Sequence[int]
    ) -> Iterator[tuple[int, RowAnswer | str]]:
        """The answer, or the problem, of the record at each of `places`."""
        assert self._batcher is not None
        waiting: deque[tuple[list[int], Future[Sequence[RowAnswer]]]] = deque()

        def finished() -> Iterator[tuple[int, RowAnswer | str]]:
            rows, future = waiting.popleft()
            yield from zip(rows, future.result(), strict=True)

        for start in range(0, len(places), self._batcher.most):
            if len(waiting) >= _AHEAD:
                yield from finished()
            some = places[start : start + self._batcher.most]
            pending = model.predictor.start([records[place].cells for place in some])
            rows, cells = [], []
            for place, row in zip(some, pending, strict=True):
                parsed = row.finish()
                if parsed.problem is None:
                    rows.append(place)
                    cells.append(parsed.cells)
                else:
                    yield place, parsed.problem
                    if model.options.refuse_bad_rows:
                        return
            if rows:
                waiting.append((rows, self._batcher.submit(cells)))
        while waiting:
            yield from finished()

    def _judge(self, records: Sequence[Record], problems: dict[int, str], *, refuse: bool) -> None:
        # Blank lines are answered with empty fields, but are no sign of a mistake in the rows.
        blank = sum(record.is_blank for record in records)
        rows = sum(not record.is_header for record in records) - blank
        bad = sum(not records[place].is_blank for place in problems)
        with self._counting:
            self.counts.requests += 1
            self.counts.rows += rows
            self.counts.bad_rows += bad
        if not problems:
            return
        first = min(problems)
        told = f"line {records[first].line}: {problems[first]}"
        if refuse:
            raise UserError(f"{told}. No row of this request was answered.")
        if rows > 1 and bad > rows / 2:
            raise UserError(f"{bad} of {rows} lines cannot be read, the first is {told}. Fix the input.")
        for place in sorted(problems)[:_LOGGED_PROBLEMS]:
            _LOG.warning(
                "bad row, answered with empty fields: line %d of its payload: %s", records[place].line, problems[place]
            )
        if len(problems) > _LOGGED_PROBLEMS:
            _LOG.warning("%d more bad rows in this payload", len(problems) - _LOGGED_PROBLEMS)


def _told(model: Loaded, record: Record, row: RowAnswer | None, problem: str | None) -> Answer:
    told: Answer = dict.fromkeys(model.options.fields)
    predictor = model.predictor
    for field in model.options.fields:
        if field is Field.ID:
            told[field] = record.identity
        elif field is Field.ERROR:
            told[field] = problem
        elif row is None:
            continue
        elif field is Field.MODALITY_WEIGHTS:
            assert row.weights is not None
            shares = zip(predictor.modalities, row.weights, strict=True)
            told[field] = {modality.value: _rounded(share) for modality, share in shares}
        elif predictor.task.is_regression:
            told[field] = float(f"{row.answer[0]:.7g}")
        elif field is Field.LABELS:
            told[field] = list(predictor.classes)
        elif field is Field.PROBABILITIES:
            told[field] = [_rounded(value) for value in row.answer]
        else:
            winner = int(row.answer.argmax())
            told[field] = predictor.classes[winner] if field is Field.PREDICTED_LABEL else _rounded(row.answer[winner])
    return told


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
