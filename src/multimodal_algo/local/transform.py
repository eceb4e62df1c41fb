"""Runs a batch transform job on this machine, as SageMaker would."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from multimodal_algo.config.transform import (
    DEFAULT_PAYLOAD_MB,
    MAX_PAYLOAD_MB,
    AssembleWith,
    BatchStrategy,
    CompressionType,
    TransformSettings,
)
from multimodal_algo.core.archive import log_left_out, unpack
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.progress import Progress
from multimodal_algo.core.storage import Location, is_s3, local_data, local_file, local_path, output_folder
from multimodal_algo.local.processing import Processor
from multimodal_algo.local.records import Payload, chunks, open_input, payloads
from multimodal_algo.local.runner import ProcessRunner, Runner
from multimodal_algo.local.server import LocalServer

_DEFAULT_CONCURRENT = 1
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class _InputFile:
    """An input file, with its path relative to the input folder as its name."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Limits:
    """The job's request sizes: from its settings, then from the server's answer, then SageMaker's defaults."""

    payload_mb: int
    concurrent: int
    strategy: BatchStrategy

    @classmethod
    def of(cls, settings: TransformSettings, answer: Mapping[str, object]) -> _Limits:
        """Return the job's limits.

        What its settings leave open comes from the server's answer to ``/execution-parameters``.
        """
        payload_mb: object = settings.max_payload_mb
        if payload_mb is None:
            payload_mb = answer.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
        concurrent = settings.max_concurrent_transforms or answer.get("MaxConcurrentTransforms", _DEFAULT_CONCURRENT)
        if not isinstance(payload_mb, int) or not 0 <= payload_mb <= MAX_PAYLOAD_MB:
            raise UserError(f"MaxPayloadInMB is {payload_mb}: it must be from 0 to {MAX_PAYLOAD_MB}.")
        if not isinstance(concurrent, int) or not concurrent > 0:
            raise UserError(f"MaxConcurrentTransforms is {concurrent}: it must be at least 1.")
        if payload_mb * concurrent > MAX_PAYLOAD_MB:
            raise UserError(
                f"MaxPayloadInMB ({payload_mb}) times MaxConcurrentTransforms ({concurrent}) is more than "
                f"{MAX_PAYLOAD_MB}. Lower one of them."
            )
        strategy = settings.strategy or BatchStrategy.of_server(str(answer.get("BatchStrategy", "")))
        return cls(payload_mb, concurrent, strategy)


def transform(
    model: Location,
    input_data: Location,
    settings: TransformSettings | None = None,
    *,
    output: Location,
    runner: Runner | None = None,
) -> list[Path | str]:
    """Serve a model archive, send it the lines of the input files, and write each file's answers as ``<file>.out``.

    Parameters
    ----------
    model
        A ``model.tar.gz``: a path, or a ``file://`` or ``s3://`` URI.
    input_data
        A file, a folder or an ``s3://`` URI. All files below it are transformed, and the output keeps their relative
        paths.
    settings
        Settings of the job. None means the defaults of `TransformSettings`.
    output
        Directory or ``s3://`` URI for the results. A directory is created if it does not exist.
    runner
        Starts the program. None starts a plain process of this installation.

    Returns
    -------
    list of pathlib.Path or str
        The written files in the order of the input files. They are URIs if `output` is one.

    Raises
    ------
    UserError
        The server does not start, a setting is outside SageMaker's limits, or a file fails. If a file fails, the other
        files are still transformed.
    """
    settings = settings or TransformSettings()
    settings.check()
    processor = Processor(settings)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="multimodal-local-")))
        results = stack.enter_context(output_folder(output, scratch / "output"))
        # On the platform, the log is not among the results. It stays on this machine where the job fails.
        log = scratch.with_suffix(".log") if is_s3(output) else results / "serve.log"
        inputs = _inputs(local_data(input_data, scratch / "input"), input_data)
        extract(local_file(model, scratch / "archive"), scratch / "ml/model")
        program = LocalServer(runner or ProcessRunner(), scratch / "ml", settings.environment(), log)
        print("transform: waits for the server, which loads the model", flush=True)
        started = time.monotonic()
        server = stack.enter_context(program)
        print(f"transform: the server is ready after {time.monotonic() - started:.1f} s", flush=True)
        limits = _Limits.of(settings, server.execution_parameters())
        if processor.is_needed and not limits.payload_mb:
            raise UserError("MaxPayloadInMB=0 sends files as they are: DataProcessing needs it from 1 to 100.")
        _report_start(limits, processor.has_slice_end)
        with Progress("transform", "records", _total_bytes(inputs, settings)) as progress:
            failures = _Job(server, settings, processor, limits, progress).transform_all(inputs, results)
        if failures:
            more = f" ({len(failures) - 1} more files failed)" if len(failures) > 1 else ""
            raise UserError(f"{failures[0]}{more} The server's log is {log}.")
    _report_end(progress, output)
    if is_s3(output):
        log.unlink()
        return [f"{output.rstrip('/')}/{file.name}.out" for file in inputs]
    return [local_path(output) / f"{file.name}.out" for file in inputs]


def extract(archive: Path, directory: Path) -> None:
    """Unpack a model archive into a directory that is read-only afterwards, as on SageMaker.

    Raises
    ------
    UserError
        The file is not a model archive.
    """
    log_left_out(archive, unpack(archive, directory))
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def _inputs(location: Path, given: Location) -> list[_InputFile]:
    if location.is_file():
        return [_InputFile(location, location.name)]
    files = [path for path in sorted(location.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise UserError(f"{given}: there is no file to transform.")
    return [_InputFile(path, path.relative_to(location).as_posix()) for path in files]


def _total_bytes(inputs: Sequence[_InputFile], settings: TransformSettings) -> int | None:
    """Return the size of all input files.

    Return None if they are compressed, because only decompression shows their size.
    """
    if settings.compression_type is CompressionType.GZIP:
        return None
    return sum(file.path.stat().st_size for file in inputs)


def _report_start(limits: _Limits, has_slice_end: bool) -> None:
    print(
        f"transform: MaxConcurrentTransforms={limits.concurrent}, "
        f"MaxPayloadInMB={limits.payload_mb}, BatchStrategy={limits.strategy}",
        flush=True,
    )
    if has_slice_end:
        print(
            "transform: the end of a slice is read as inclusive. The platform's rule is not documented. "
            "Indices such as $[1,2] avoid the question.",
            flush=True,
        )


def _report_end(progress: Progress, output: Location) -> None:
    print(
        f"transform: {progress.count} records in {progress.seconds:.1f} s "
        f"({progress.count / max(progress.seconds, 1e-9):.0f} records/s), predictions are in {output}",
        flush=True,
    )


@dataclass(frozen=True)
class _Job:
    """A running transform job: it sends the records of all files to the server and writes the answers."""

    server: LocalServer
    settings: TransformSettings
    processor: Processor
    limits: _Limits
    progress: Progress

    def transform_all(self, files: Sequence[_InputFile], results: Path) -> list[UserError]:
        """Transform all files. Return the errors of those that failed."""
        failures: list[UserError] = []
        for file in files:
            try:
                self._transform(file, results / f"{file.name}.out")
            except UserError as error:
                failures.append(error)
        return failures

    def _transform(self, file: _InputFile, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial_file = target.with_name(target.name + ".partial")
        try:
            with partial_file.open("wb") as out:
                if self.limits.payload_mb:
                    self._send_payloads(file, out)
                else:
                    self._send_stream(file, out)
            os.replace(partial_file, target)
        finally:
            partial_file.unlink(missing_ok=True)

    def _send_stream(self, file: _InputFile, out: IO[bytes]) -> None:
        """Send a whole file as one request, in chunks."""
        body = partial(chunks, file.path, file.name, self.settings.compression_type)
        answer = self.server.invoke(body, f"{file.name}, as one stream", self.settings)
        _assemble(out, answer, self.settings.assemble_with)
        self.progress.at(self.progress.count + 1, self.progress.done + file.path.stat().st_size)

    def _send_payloads(self, file: _InputFile, out: IO[bytes]) -> None:
        limit = self.limits.payload_mb * _MEGABYTE
        with open_input(file.path, file.name, self.settings.compression_type) as stream:
            cut = payloads(stream, file.name, self.settings.split_type, self.limits.strategy, limit)
            for payload, result in self._results(cut, file.name):
                _assemble(out, result, self.settings.assemble_with)
                self.progress.at(self.progress.count + payload.records, self.progress.done + len(payload.body))

    def _results(self, cut: Iterator[Payload], name: str) -> Iterator[tuple[Payload, bytes]]:
        """Yield each payload (request body) with its result, in order.

        Up to `limits.concurrent` requests run at the same time.
        """
        with ThreadPoolExecutor(self.limits.concurrent) as pool:
            waiting: deque[Future[tuple[Payload, bytes]]] = deque()
            for payload in cut:
                if len(waiting) >= self.limits.concurrent:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(self._result, payload, name))
            while waiting:
                yield waiting.popleft().result()

    def _result(self, payload: Payload, name: str) -> tuple[Payload, bytes]:
        where = f"{name}, payload from line {payload.first_line} ({payload.records} records)"
        answer = self.server.invoke(self.processor.request(payload, name), where, self.settings)
        return payload, self.processor.result(payload, answer, name)


def _assemble(out: IO[bytes], answer: bytes, assemble_with: AssembleWith) -> None:
    out.write(answer)
    # The platform adds a newline after each answer. Its documentation does not say whether it adds one after an answer
    # that ends with a newline. The answers of AWS's own containers end so, and a second newline would break every join.
    if assemble_with == AssembleWith.LINE and answer and not answer.endswith(b"\n"):
        out.write(b"\n")
