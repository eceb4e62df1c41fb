"""A batch transform job on this machine."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from multimodal_algo.core.archive import unpack
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.progress import Progress
from multimodal_algo.core.storage import Location, is_s3, local_data, local_file, output_folder
from multimodal_algo.local.job import TransformJob
from multimodal_algo.local.processing import Processor
from multimodal_algo.local.records import BatchStrategy, CompressionType, Payload, chunks, opened, payloads
from multimodal_algo.local.runner import ProcessRunner, Runner
from multimodal_algo.local.server import LocalServer

# API: the platform's defaults and limits of CreateTransformJob.
_DEFAULT_PAYLOAD_MB = 6
_DEFAULT_CONCURRENT = 1
_MOST_PAYLOAD_MB = 100
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class _Limits:
    payload_bytes: int
    concurrent: int
    strategy: BatchStrategy


def transform(
    model: Location,
    input_data: Location,
    job: TransformJob | None = None,
    *,
    output: Location,
    runner: Runner | None = None,
) -> list[Path | str]:
    """Serve a model archive, send it the lines of files, and leave ``<file>.out`` in `output`.

    Parameters
    ----------
    model
        A ``model.tar.gz``: a path, or a ``file://`` or ``s3://`` URI.
    input_data
        A file, or a folder or prefix: every file below it is transformed, and its answers keep its relative path.
    job
        Settings; the platform's defaults else.
    output
        Directory or URI of the results; a directory is made when missing.
    runner
        How to start the program; as a plain process of this installation else.

    Returns
    -------
    list of pathlib.Path or str
        The files written, in the order of the inputs; URIs where `output` is one of S3.

    Raises
    ------
    UserError
        The server does not start, a setting is out of the platform's limits, or a file could not be transformed.
        One file's failure does not keep the others from being written.
    """
    job = job or TransformJob()
    job.check()
    processor = Processor(job)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="multimodal-local-")))
        results = stack.enter_context(output_folder(output, scratch / "output"))
        # The platform's log is not among the results either; it stays here where the job fails.
        log = scratch.with_suffix(".log") if is_s3(output) else results / "serve.log"
        inputs = _inputs(local_data(input_data, scratch / "input"), input_data)
        extract(local_file(model, scratch / "archive"), scratch / "ml/model")
        server = stack.enter_context(LocalServer(runner or ProcessRunner(), scratch / "ml", job.environment(), log))
        limits = _limits(job, server.execution_parameters())
        if processor.is_needed and not limits.payload_bytes:
            raise UserError("MaxPayloadInMB=0 sends files as they are: DataProcessing needs it from 1 to 100.")
        print(
            f"transform: MaxConcurrentTransforms={limits.concurrent}, "
            f"MaxPayloadInMB={limits.payload_bytes // _MEGABYTE}, BatchStrategy={limits.strategy}",
            flush=True,
        )
        if processor.has_slice_end:
            print("transform: the end of a slice is read as inclusive; indices, as $[1,2], leave no doubt", flush=True)
        # Only decompression tells how large packed files are.
        is_packed = job.compression_type is CompressionType.GZIP
        sizes = [path.stat().st_size for path, _ in inputs]
        written: list[Path | str] = []
        failures: list[str] = []
        with Progress("transform", "records", None if is_packed else sum(sizes)) as progress:
            for path, name in inputs:
                target = results / f"{name}.out"
                try:
                    _transform_file(server, job, processor, limits, path, name, target, progress)
                except UserError as error:
                    failures.append(str(error))
                else:
                    written.append(f"{output.rstrip('/')}/{name}.out" if is_s3(output) else target)
        if failures:
            more = f" ({len(failures) - 1} more files failed)" if len(failures) > 1 else ""
            raise UserError(f"{failures[0]}{more} The server's log is {log}.")
    if is_s3(output):
        log.unlink()
    print(
        f"transform: {progress.count} records in {progress.seconds:.1f} s "
        f"({progress.count / max(progress.seconds, 1e-9):.0f} records/s), predictions are in {output}",
        flush=True,
    )
    return written


def _inputs(location: Path, given: Location) -> list[tuple[Path, str]]:
    if location.is_file():
        return [(location, location.name)]
    files = [path for path in sorted(location.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise UserError(f"{given}: there is no file to transform.")
    return [(path, path.relative_to(location).as_posix()) for path in files]


def extract(archive: Path, directory: Path) -> None:
    """Unpack a model archive as the platform does, read-only.

    Raises
    ------
    UserError
        It is no archive.
    """
    unpack(archive, directory)
    # The platform's model directory is read-only in practice.
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def _limits(job: TransformJob, answer: Mapping[str, object]) -> _Limits:
    """The job's settings, else the server's answer, else the platform's defaults."""
    payload = (
        job.max_payload_mb if job.max_payload_mb is not None else answer.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MB)
    )
    concurrent = job.max_concurrent_transforms or answer.get("MaxConcurrentTransforms", _DEFAULT_CONCURRENT)
    if not isinstance(payload, int) or not 0 <= payload <= _MOST_PAYLOAD_MB:
        raise UserError(f"MaxPayloadInMB is {payload}: it must be from 0 to {_MOST_PAYLOAD_MB}.")
    if not isinstance(concurrent, int) or not concurrent > 0:
        raise UserError(f"MaxConcurrentTransforms is {concurrent}: it must be at least 1.")
    if payload * concurrent > _MOST_PAYLOAD_MB:
        raise UserError(
            f"MaxPayloadInMB ({payload}) times MaxConcurrentTransforms ({concurrent}) is more than {_MOST_PAYLOAD_MB}."
        )
    strategy = job.strategy
    if strategy is None:
        single = str(answer.get("BatchStrategy", "")).upper() == "SINGLE_RECORD"
        strategy = BatchStrategy.SINGLE_RECORD if single else BatchStrategy.MULTI_RECORD
    return _Limits(payload * _MEGABYTE, concurrent, strategy)


def _transform_file(
    server: LocalServer,
    job: TransformJob,
    processor: Processor,
    limits: _Limits,
    path: Path,
    name: str,
    target: Path,
    progress: Progress,
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".partial")
    try:
        with unfinished.open("wb") as out:
            if not limits.payload_bytes:
                body = partial(chunks, path, name, job.compression_type)
                _assemble(out, server.invoke(body, f"{name}, as one stream", job), job.assemble_with)
                progress.at(progress.count + 1, progress.done + path.stat().st_size)
            else:
                with opened(path, name, job.compression_type) as stream:
                    cut = payloads(stream, name, job.split_type, limits.strategy, limits.payload_bytes)
                    for payload, result in _results(server, job, processor, cut, name, limits.concurrent):
                        _assemble(out, result, job.assemble_with)
                        progress.at(progress.count + payload.records, progress.done + len(payload.body))
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _results(
    server: LocalServer, job: TransformJob, processor: Processor, cut: Iterator[Payload], name: str, concurrent: int
) -> Iterator[tuple[Payload, bytes]]:
    """What is kept of each payload, in their order, at most `concurrent` requests at a time."""

    def result(payload: Payload) -> tuple[Payload, bytes]:
        where = f"{name}, payload from line {payload.first_line} ({payload.records} records)"
        answer = server.invoke(processor.request(payload, name), where, job)
        return payload, processor.result(payload, answer, name)

    with ThreadPoolExecutor(concurrent) as pool:
        waiting: deque[Future[tuple[Payload, bytes]]] = deque()
        for payload in cut:
            if len(waiting) >= concurrent:
                yield waiting.popleft().result()
            waiting.append(pool.submit(result, payload))
        while waiting:
            yield waiting.popleft().result()


def _assemble(out: IO[bytes], answer: bytes, assemble_with: str) -> None:
    out.write(answer)
    # The platform adds a newline after each answer. Whether it does after one that ends with a newline is not
    # documented; AWS's own containers end with one, so adding a second would break every join.
    if assemble_with == "Line" and answer and not answer.endswith(b"\n"):
        out.write(b"\n")
