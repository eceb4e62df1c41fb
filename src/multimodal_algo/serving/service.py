"""The way of a request through the server: decode, predict, encode. Bad rows are refused, or answered and logged."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from multimodal_algo.config.inference import Field, InferenceOptions
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.core.memory import MemoryGate, available_bytes, return_freed_memory
from multimodal_algo.core.schema import Modality
from multimodal_algo.serving.batching import Batcher, Busy, ClientGone
from multimodal_algo.serving.decoding import Decoded, Kind, Reading, Record, memory_of, readable, records_of
from multimodal_algo.serving.decoding.bounds import BodyTooLarge, require_room
from multimodal_algo.serving.encoding import Answer, encode
from multimodal_algo.serving.rows_in_flight import RowsInFlight
from multimodal_algo.serving.unseen import UnseenCategories, UnseenLog

if TYPE_CHECKING:
    from multimodal_algo.ingest.features import Features
    from multimodal_algo.serving.deciding import Decider
    from multimodal_algo.serving.loaded_model import LoadedModel, RowAnswer
    from multimodal_algo.serving.watching import RowWatch

_LOG = logging.getLogger(__name__)

_LOGGED_PROBLEMS = 10
_DIGITS = 6
_AS_IT_IS = Reading()
# Rows of all requests together, and their decoded images, may each take this share of the memory that is free when the
# model is loaded.
_SHARE = 4
# Most bytes of the rows of one request.
_MOST_ROW_BYTES = 4 * 10**9
# Memory that the rows of a request took, from which on it is returned to the system at once.
_LARGE_BYTES = 64 << 20


@dataclass(frozen=True)
class ServedModel:
    """A loaded model, and the options of how it answers requests.

    Parameters
    ----------
    model
        The loaded model.
    options
        Which fields the answers have, and what happens to bad rows.
    batch_rows
        Largest number of rows that are computed at once.
    is_batch
        Whether a batch transform job started the server.
    single_record
        Whether each request of that job has only one row.
    decider
        Decision rule for the answers. None if each row is answered with its likeliest class.
    """

    model: LoadedModel
    options: InferenceOptions
    batch_rows: int = 64
    is_batch: bool = False
    single_record: bool = False
    decider: Decider | None = None

    def reading(self, request: Reading, most_bytes: int) -> Reading:
        """Return how to read a request body: what the request says, completed by the server's options."""
        id_absent = self.options.id_absent if request.id_absent is None else request.id_absent
        return replace(
            request,
            id_absent=id_absent and self.model.schema.has_id,
            in_batch=self.is_batch,
            single_record=self.single_record,
            refuse_unknown_keys=self.options.refuse_unknown_keys,
            names=self.model.names,
            most_bytes=most_bytes,
        )


@dataclass
class ServedCounts:
    """How many requests and rows were served since the start."""

    requests: int = 0
    rows: int = 0
    bad_rows: int = 0


class ModelService:
    """Loads the model in the background, and answers request bodies. Requests wait until the model is loaded.

    Parameters
    ----------
    load_model
        Loads the model. It is called once.
    since_start
        Returns the seconds since the server started, for the log.
    """

    def __init__(self, load_model: Callable[[], ServedModel], since_start: Callable[[], float]) -> None:
        self._load_model = load_model
        self._since_start = since_start
        self._loaded = threading.Event()
        self._served: ServedModel | None = None
        self._batcher: Batcher[Any, Features, RowAnswer] | None = None
        self._failure: str | None = None
        self._counting = threading.Lock()
        self.counts = ServedCounts()
        self._unseen = UnseenLog()
        self._watch: RowWatch | None = None
        self._rows_memory: MemoryGate
        self._image_memory: MemoryGate

    @property
    def failure(self) -> str | None:
        """The reason why the model cannot be served. None as long as it is being loaded or works."""
        return self._failure

    @property
    def busy_s(self) -> float:
        """Seconds since the model began its present batch of rows. 0 if it has none."""
        return 0.0 if self._batcher is None else self._batcher.busy_s

    def load(self) -> bool:
        """Load the model. If that fails, log the reason and return False."""
        try:
            self._served = self._load_model()
            self._watch = _watch_of(self._served)
            self._batcher = _batcher_of(self._served, self._watch)
            # The model has its memory now.
            self._rows_memory, self._image_memory = (MemoryGate(available_bytes() // _SHARE) for _ in range(2))
            gc.collect()
            gc.freeze()  # the model stays, and looking through it again and again keeps other threads waiting
            _LOG.info("ready %.1f s after the start", self._since_start())
        except (UserError, PlatformError) as error:
            self._failure = f"The model cannot be served: {error}"
            _LOG.error("%s", self._failure)
        except Exception as error:
            self._failure = (
                f"The model cannot be served: {type(error).__name__} while it is loaded. The log has the details."
            )
            _LOG.exception("The model cannot be served: a bug")
        self._loaded.set()
        return self._failure is None

    def drift(self) -> str | None:
        """Return a sentence about the columns of answered rows that differ from the training rows, or None."""
        return None if self._watch is None else self._watch.sentence()

    def wait(self) -> ServedModel:
        """Wait until the model is loaded, and return it.

        Raises
        ------
        PlatformError
            The model could not be loaded.
        """
        self._loaded.wait()
        if self._served is None:
            raise PlatformError(self._failure)
        return self._served

    def give_up(self, reason: str) -> None:
        """Answer all waiting and future requests with `reason`, because the model hangs."""
        self._failure = reason
        if self._batcher is not None:
            self._batcher.abandon(Busy(reason))

    def answer(
        self,
        body: bytes,
        kind: Kind,
        accepted: Kind,
        request: Reading = _AS_IT_IS,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> bytes:
        """Return the response body, which has one answer for each record (row) of the request `body`, in order.

        Parameters
        ----------
        body, kind
            See `decode`.
        accepted
            Format of the answers.
        request
            What the request's content type says about the body.
        is_gone
            Returns whether the client has left.

        Raises
        ------
        ClientGone
            The client has left. Its remaining rows are not computed.
        UserError
            The records of the body cannot be separated. Or it has bad rows, and the options refuse them. Or more than
            half of its rows are bad, which means that the whole input is wrong.
        PlatformError
            The model could not be loaded, or it hangs.
        """
        served = self.wait()
        if is_gone():
            raise ClientGone
        reading = served.reading(request, min(_MOST_ROW_BYTES, self._rows_memory.total))
        body = readable(body, kind, reading)
        size = memory_of(body, kind, reading)
        require_room(size, reading.most_bytes)
        try:
            with self._rows_memory.holding(size) as hold:
                decoded = records_of(body, kind, served.model.schema, reading)
                del body
                hold.only(decoded.memory_bytes)
                return self._answered(served, decoded, accepted, reading, is_gone)
        except (UserError, BodyTooLarge) as error:
            # Without the frames of the functions that raised it, which have the rows.
            raise error.with_traceback(None) from None
        finally:
            if size > _LARGE_BYTES:
                return_freed_memory()

    def _answered(
        self, served: ServedModel, decoded: Decoded, accepted: Kind, reading: Reading, is_gone: Callable[[], bool]
    ) -> bytes:
        for warning in decoded.warnings:
            _LOG.warning("%s", warning)
        records = decoded.records
        predictions, problems = self._predict(served, records, is_gone)
        self._report(records, problems, refuse=served.options.refuse_bad_rows)
        fields = served.options.fields_of(id_absent=bool(reading.id_absent))
        answer_of = partial(_answer_of, served, fields)
        answers = (
            {} if record.is_header else answer_of(record, predictions.get(index), problems.get(index))
            for index, record in enumerate(records)
        )
        return encode(answers, fields, accepted, is_single=decoded.is_single)

    def _predict(
        self, served: ServedModel, records: Sequence[Record], is_gone: Callable[[], bool]
    ) -> tuple[dict[int, RowAnswer], dict[int, str]]:
        """Return the predictions for good records and the problems of bad ones, each by the index of the record.

        If the options refuse bad rows, no more predictions are made after the first problem.
        """
        problems = {index: record.problem for index, record in enumerate(records) if record.problem}
        predictions: dict[int, RowAnswer] = {}
        if problems and served.options.refuse_bad_rows:
            return predictions, problems
        unseen = _unseen_of(served)
        readable = [index for index, record in enumerate(records) if not record.problem and not record.is_header]
        assert self._batcher is not None
        flight = RowsInFlight(served.model, self._batcher, self._image_memory, is_gone)
        with closing(flight.results(records, readable, unseen.count if unseen is not None else _ignore)) as results:
            for index, result in results:
                if not isinstance(result, str):
                    predictions[index] = result
                    continue
                problems[index] = result
                if served.options.refuse_bad_rows:
                    break
        if unseen is not None:
            self._unseen.add(unseen.summary(len(readable)))
        return predictions, problems

    def _report(self, records: Sequence[Record], problems: Mapping[int, str], *, refuse: bool) -> None:
        """Count the rows of a request. If there are problems, refuse the request or log them."""
        # Blank lines are answered with empty fields. They are not a sign of a mistake in the rows.
        blank = sum(record.is_blank for record in records)
        rows = sum(not record.is_header for record in records) - blank
        bad = sum(not records[index].is_blank for index in problems)
        with self._counting:
            self.counts.requests += 1
            self.counts.rows += rows
            self.counts.bad_rows += bad
        if not problems:
            return
        first = min(problems)
        problem = f"line {records[first].line}: {problems[first]}"
        if refuse:
            raise UserError(f"{problem}. No row of this request was answered.")
        if rows > 1 and bad > rows / 2:
            raise UserError(f"{bad} of {rows} lines cannot be read, the first is {problem}. Fix the input.")
        _log_problems(records, problems)


def _ignore(_: Any) -> None:
    pass


def _unseen_of(served: ServedModel) -> UnseenCategories | None:
    columns, known = served.model.schema.of(Modality.CAT), served.model.categories
    return UnseenCategories(known, columns) if columns and known is not None else None


def _watch_of(served: ServedModel) -> RowWatch | None:
    from multimodal_algo.serving.watching import RowWatch  # it imports numpy, which /ping does without

    model = served.model
    return None if model.sketches is None else RowWatch(model.sketches, model.categories)


def _batcher_of(served: ServedModel, watch: RowWatch | None) -> Batcher[Any, Features, RowAnswer]:
    from multimodal_algo.serving.reasons import with_reasons  # it imports numpy, which /ping does without

    model, fields = served.model, served.options.fields
    with_weights, with_novelty = Field.MODALITY_WEIGHTS in fields, Field.NOVELTY in fields

    guarantees = model.guarantees(served.options)

    def answer(features: Features) -> list[RowAnswer]:
        answers = model.answer(features, with_weights=with_weights, guarantees=guarantees)
        if watch is not None:
            watch.add(features)
        if with_novelty and (novelty := model.novelty(features)) is not None:
            answers = [replace(row, novelty=float(value)) for row, value in zip(answers, novelty, strict=True)]
        answers = answers if served.decider is None else served.decider.decide(answers)
        return with_reasons(model, features, answers) if Field.REASONS in fields else answers

    return Batcher(model.encode, answer, served.batch_rows)


def _log_problems(records: Sequence[Record], problems: Mapping[int, str]) -> None:
    for index in sorted(problems)[:_LOGGED_PROBLEMS]:
        _LOG.warning(
            "bad row, answered with empty fields: line %d of its payload: %s", records[index].line, problems[index]
        )
    if len(problems) > _LOGGED_PROBLEMS:
        _LOG.warning("%d more bad rows in this payload", len(problems) - _LOGGED_PROBLEMS)


def _answer_of(
    served: ServedModel, fields: Sequence[Field], record: Record, row: RowAnswer | None, problem: str | None
) -> Answer:
    """Return the fields of the answer to `record`. They are empty if there is no prediction."""
    answer: Answer = dict.fromkeys(fields)
    for field in fields:
        if field is Field.ID:
            answer[field] = record.identity
        elif field is Field.ERROR:
            answer[field] = problem
        elif row is not None:
            answer[field] = _value_of(field, row, served)
    return answer


def _value_of(field: Field, row: RowAnswer, served: ServedModel) -> Any:
    model = served.model
    if field is Field.MODALITY_WEIGHTS:
        assert row.weights is not None
        shares = zip(model.modalities, row.weights, strict=True)
        return {modality.value: _rounded(share) for modality, share in shares}
    if field in row.guarantees:
        return row.guarantees[field]
    if field is Field.NOVELTY:
        return None if row.novelty is None else _rounded(row.novelty)
    if field is Field.REASONS:
        return {column: _rounded(effect) for column, effect in row.reasons.items()}
    if model.task.is_regression:
        return float(row.answer[0])
    if field is Field.LABELS:
        return list(model.classes)
    if field is Field.PROBABILITIES:
        return [_rounded(value) for value in row.answer]
    guess = int(row.answer.argmax()) if row.guess is None else row.guess
    if field is Field.PROBABILITY:
        return _rounded(row.answer[guess])
    if row.is_reviewed and field is Field.PREDICTED_LABEL:
        assert served.decider is not None
        return served.decider.review_label
    return model.classes[guess]


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
