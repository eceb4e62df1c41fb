"""A request's way through the server: decode, predict, encode, and what becomes of bad rows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from multimodal_algo.errors import PlatformError, UserError
from multimodal_algo.serving.codec import Record, decode_csv, encode_csv, identity, output_names

if TYPE_CHECKING:
    from multimodal_algo.serving.predictor import Predictor

_LOG = logging.getLogger(__name__)

_LOGGED_PROBLEMS = 10


class ModelService:
    """Loads the models in the background and answers bodies; calls wait until they are loaded.

    Parameters
    ----------
    load_predictor
        Loads the models; called once, in the background.
    is_batch
        Whether bad rows are answered with empty predictions (batch transform) or refuse the request (endpoint).
    """

    def __init__(self, load_predictor: Callable[[], Predictor], *, is_batch: bool) -> None:
        self._load_predictor = load_predictor
        self._is_batch = is_batch
        self._loaded = threading.Event()
        self._predicting = threading.Lock()
        self._predictor: Predictor | None = None
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """Why nothing can be served; None while loading and when all is well."""
        return self._failure

    def load(self) -> bool:
        """Load the models; False, after the reason was logged, when that is impossible."""
        started = time.monotonic()
        try:
            self._predictor = self._load_predictor()
            _LOG.info("model loaded in %.1f s", time.monotonic() - started)
        except (UserError, PlatformError) as error:
            self._failure = f"The model cannot be served: {error}"
            _LOG.error("%s", self._failure)
        except Exception as error:
            self._failure = f"The model cannot be served: {type(error).__name__} while loading it; the log has more."
            _LOG.exception("The model cannot be served: a bug")
        self._loaded.set()
        return self._failure is None

    def answer_csv(self, body: bytes) -> bytes:
        """One output line per line of `body`, in order; see `codec` for the exact rules.

        Raises
        ------
        UserError
            On an endpoint: any bad row. In batch: most of several rows are bad, which is a systematic mistake.
        PlatformError
            The models could not be loaded.
        """
        predictor = self._wait()
        schema = predictor.schema
        records = decode_csv(body, schema)
        rows = [record for record in records if record.problem is None and not record.is_header]
        with self._predicting:
            predictions = predictor.predict([row.fields for row in rows])
        problems = {row.line: problem for row, problem in zip(rows, predictions.problems, strict=True) if problem}
        problems |= {record.line: record.problem for record in records if record.problem}
        self._judge(records, problems)
        best = {row.line: position for position, row in enumerate(rows)}
        lines: list[tuple[str, ...]] = []
        for record in records:
            if record.is_header:
                lines.append(output_names(schema, predictor.output_fields))
                continue
            prediction = ("",) * len(predictor.output_fields)
            if record.line not in problems:
                prediction = predictor.told(predictions.answers[best[record.line]])
            lines.append((identity(record, schema), *prediction) if schema.has_id else prediction)
        return encode_csv(lines)

    def _wait(self) -> Predictor:
        self._loaded.wait()
        if self._predictor is None:
            raise PlatformError(self._failure)
        return self._predictor

    def _judge(self, records: list[Record], problems: dict[int, str]) -> None:
        if not problems:
            return
        first = min(problems)
        told = f"line {first}: {problems[first]}"
        if not self._is_batch:
            raise UserError(f"{told}. No row of this request was answered.")
        # Blank lines are answered with empty fields, but are no sign of a mistake in the rows.
        blank = {record.line for record in records if record.is_blank}
        bad = len(problems.keys() - blank)
        rows = sum(not record.is_header for record in records) - len(blank)
        if rows > 1 and bad > rows / 2:
            raise UserError(f"{bad} of {rows} lines cannot be read, the first is {told}. Fix the input.")
        for line in sorted(problems)[:_LOGGED_PROBLEMS]:
            _LOG.warning("bad row, answered with empty fields: line %d of its payload: %s", line, problems[line])
        if len(problems) > _LOGGED_PROBLEMS:
            _LOG.warning("%d more bad rows in this payload", len(problems) - _LOGGED_PROBLEMS)
