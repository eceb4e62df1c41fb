"""How fast and how exactly a model is served, over real HTTP.

    python benchmarks/serving.py speed MODEL.tar.gz DATA/test_noheader.csv
    python benchmarks/serving.py exact MODEL.tar.gz DATA/test_noheader.csv --rows 50000
    python benchmarks/serving.py soak MODEL.tar.gz DATA/test_noheader.csv --minutes 30

``speed`` compares, in one run on one machine: the *limit* (all that the models must compute, called once on all rows
with images decoded and columns prepared), requests with default settings and with one record each, and the same for
``obvious_container.py``; the median time of one row; ONNX Runtime with torch on the text network. ``exact`` transforms
lines of random sizes with every batch strategy, payload, concurrency and split, and compares all answers. ``soak``
sends requests of all sizes and watches the memory of the server. Each prints one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

import numpy as np
import psutil
import requests

from multimodal_algo.artifact import read_description
from multimodal_algo.config.inference import Engine
from multimodal_algo.config.transform import BatchStrategy, SplitType, TransformSettings
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.schema import Modality
from multimodal_algo.local.records import payloads
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer
from multimodal_algo.local.transform import transform
from multimodal_algo.serving.loaded_model import LoadedModel

csv.field_size_limit(2**31 - 1)
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}
PAYLOAD = 6 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "exact", "soak"])
    parser.add_argument("model", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--single-rows", type=int, default=200, help="of the runs with one record a request")
    parser.add_argument("--single-only", action="store_true", help="exact: one setting of MultiRecord to compare with")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--engine", default="auto", choices=[engine.value for engine in Engine])
    parser.add_argument("--append", type=Path, help="append the JSON line to this file")
    arguments = parser.parse_args()
    configure_logging()
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(arguments.model) as tar:
            tar.extractall(Path(scratch) / "model", filter="data")
        found = {"speed": speed, "exact": exact, "soak": soak}[arguments.what](arguments, Path(scratch))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps(
        {"date": now, "benchmark": f"serving {arguments.what}", "data": arguments.lines.parent.name} | found
    )
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def speed(arguments: argparse.Namespace, scratch: Path) -> dict[str, object]:
    lines = repeated(arguments.lines, arguments.rows, scratch / "model")
    few = lines[: arguments.single_rows]
    found = in_process(scratch / "model", lines, Engine(arguments.engine))
    environment = {"SAGEMAKER_BATCH": "true", "INFERENCE_ENGINE": arguments.engine}
    with served(scratch, environment) as server:
        url = server.url
        parameters = server.execution_parameters()
        concurrent = parameters["MaxConcurrentTransforms"]
        found["multi_rows_per_s"] = rate(url, lines, concurrent, parameters["MaxPayloadInMB"] << 20)
        found["p50_ms"] = median_ms(lambda: post(url, few[0]), 50)
    with served(scratch, environment | {"SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD"}) as server:
        concurrent = server.execution_parameters()["MaxConcurrentTransforms"]
        found["single_rows_per_s"] = rate(server.url, few, concurrent, 0)
    with obvious(scratch / "model") as url:
        # It answers no /execution-parameters, so the platform sends it one request at a time.
        found["obvious_multi_rows_per_s"] = rate(url, lines, 1, PAYLOAD)
        found["obvious_single_rows_per_s"] = rate(url, few, 1, 0)
        found["obvious_p50_ms"] = median_ms(lambda: post(url, few[0]), 20)
    for of, over, name in (
        ("multi_rows_per_s", "limit_rows_per_s", "multi_of_limit"),
        ("multi_rows_per_s", "obvious_multi_rows_per_s", "multi_over_obvious"),
        ("single_rows_per_s", "obvious_single_rows_per_s", "single_over_obvious"),
        ("p50_ms", "forward_ms", "p50_over_forward"),
        ("p50_ms", "torch_forward_ms", "p50_over_torch_forward"),
    ):
        found[name] = found[of] / found[over]
    return {"rows": len(lines), "row_bytes": round(sum(map(len, lines)) / len(lines)), "engine": arguments.engine} | {
        name: round(value, 3) for name, value in found.items()
    }


def in_process(model: Path, lines: list[bytes], engine: Engine) -> dict[str, float]:
    """The limit, the bare networks on one row, and the text network by ONNX Runtime and by torch."""
    predictor, by_torch = LoadedModel.load(model, engine), LoadedModel.load(model, Engine.TORCH)
    rows = list(csv.reader(io.StringIO(b"".join(lines).decode(), newline="")))
    cells = [pending.finish().cells for pending in predictor.start(rows)]
    predictor.answer(predictor.encode(cells[:64]))
    started = time.perf_counter()
    predictor.answer(predictor.encode(cells))
    found = {"limit_rows_per_s": len(cells) / (time.perf_counter() - started)}
    # Only the networks: what is called bare is less than what a row needs.
    found["forward_ms"] = median_ms(lambda: predictor.encode(cells[:1]), 30)
    found["torch_forward_ms"] = median_ms(lambda: by_torch.encode(cells[:1]), 30)
    if texts := predictor.schema.of(Modality.TEXT):
        longest = max(texts, key=lambda column: sum(len(cell[column]) for cell in cells[:200]))
        some = list(dict.fromkeys(cell[longest] for cell in cells))[:256]
        of_torch = median_ms(lambda: by_torch.encoders[Modality.TEXT](some), 3)
        found["text_onnx_over_torch"] = of_torch / median_ms(lambda: predictor.encoders[Modality.TEXT](some), 3)
    return found


def exact(arguments: argparse.Namespace, scratch: Path) -> dict[str, object]:
    lines = of_random_sizes(arguments.lines, arguments.rows, scratch / "model")
    path = scratch / "lines.csv"
    path.write_bytes(b"".join(lines))
    expected: list[list[str]] | None = None
    worst, settings = 0.0, 0
    for strategy, payload_mb, concurrent, split in itertools.product(BatchStrategy, (1, 6), (1, 4, 16), SplitType):
        if strategy is BatchStrategy.SINGLE_RECORD and (split is SplitType.NONE or payload_mb > 1):
            continue  # the same requests as with another setting
        if arguments.single_only and expected and strategy is BatchStrategy.MULTI_RECORD:
            continue
        if split is SplitType.NONE and path.stat().st_size > payload_mb << 20:
            continue
        job = TransformSettings(
            split_type=split, strategy=strategy, max_payload_mb=payload_mb, max_concurrent_transforms=concurrent
        )
        started = time.monotonic()
        (out,) = transform(arguments.model, path, job, output=scratch / "out")
        answers = list(csv.reader(io.StringIO(out.read_text(encoding="utf-8"), newline="")))
        expected = expected or answers
        assert [row[0] for row in answers] == [str(number) for number in range(len(lines))], "order or count"
        both = [(float(a[2] or -1), float(b[2] or -1)) for a, b in zip(answers, expected, strict=True)]
        worst = max([worst, *(abs(a - b) for a, b in both)])
        settings += 1
        print(
            f"{strategy} {payload_mb} MB x {concurrent} {split}: {time.monotonic() - started:.0f} s, off by {worst:.1g}"
        )
    return {"rows": len(lines), "settings": settings, "off_by": worst}


def soak(arguments: argparse.Namespace, scratch: Path) -> dict[str, object]:
    lines = repeated(arguments.lines, arguments.rows, scratch / "model")
    bad = [b"1,2,3\n", b"\xff\n", b"\n"]
    deadline = time.monotonic() + 60 * arguments.minutes
    sent = itertools.count()
    memory: list[tuple[float, float]] = []
    with served(scratch, {"SAGEMAKER_BATCH": "true", "INFERENCE_ENGINE": arguments.engine}) as server:
        url = server.url
        (worker,) = psutil.Process(server.process.pid).children()
        stop = threading.Event()

        def send(seed: int) -> None:
            choice = random.Random(seed)
            while not stop.is_set():
                some = choice.choices(lines, k=choice.choice([1, 1, 1, 10, 100, 400]))
                if choice.random() < 0.1:
                    some.insert(0, choice.choice(bad))
                answer = requests.post(f"{url}/invocations", data=b"".join(some), headers=CSV, timeout=600)
                assert answer.status_code == (200 if len(some) != 2 else answer.status_code), answer.text
                assert answer.status_code != 200 or answer.text.count("\n") == len(some)
                next(sent)

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(send, seed) for seed in range(8)]
            began = time.monotonic()
            while time.monotonic() < deadline and not any(client.done() for client in clients):
                time.sleep(5)
                memory.append((time.monotonic() - began, worker.memory_info().rss / 1e6))
            stop.set()
            for client in clients:
                client.result()
    # The first third warms up.
    settled = [mb for at, mb in memory if at > memory[-1][0] / 3]
    half = len(settled) // 2
    first, second = statistics.mean(settled[:half]), statistics.mean(settled[half:])
    growth = round(second / first - 1, 4)
    return {"minutes": arguments.minutes, "requests": next(sent), "rss_mb": round(second), "growth": growth}


def repeated(path: Path, rows: int, model: Path) -> list[bytes]:
    """So many lines of a file, each with its newline, an ID of its own, and texts that no other line has."""
    schema = read_description(model).schema_
    texts = [schema.inference_columns.index(column) for column in schema.of(Modality.TEXT)]
    with path.open(newline="", encoding="utf-8") as stream:
        known = list(csv.reader(stream))
    lines = []
    for number in range(rows):
        fields = list(known[number % len(known)])
        fields[0] = str(number)
        for place in texts:
            fields[place] = fields[place] and f"{fields[place]} {number}"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(fields)
        lines.append(text.getvalue().encode())
    return lines


def of_random_sizes(path: Path, rows: int, model: Path) -> list[bytes]:
    """The same, some with a cell left out."""
    choice = random.Random(0)
    lines = repeated(path, rows, model)
    for number, line in enumerate(lines):
        fields = next(csv.reader([line.decode()]))
        place = choice.randrange(1, len(fields))
        if choice.random() < 0.3:
            fields[place] = ""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(fields)
        lines[number] = text.getvalue().encode()
    return lines


def served(scratch: Path, environment: dict[str, str]) -> LocalServer:
    """Ours; use it as a context."""
    return LocalServer(ProcessRunner(), scratch, environment, scratch / "serve.log")


@contextmanager
def obvious(model: Path) -> Iterator[str]:
    """The obvious container's server, ready."""
    script = Path(__file__).with_name("obvious_container.py")
    port = 18080
    process = subprocess.Popen([sys.executable, str(script), str(model), str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                requests.get(f"{url}/ping", timeout=5)
                break
            except requests.RequestException:
                assert process.poll() is None
        yield url
    finally:
        process.terminate()
        process.wait()


_OF_THREAD = threading.local()


def post(url: str, body: bytes) -> bytes:
    """Send a body on the thread's own connection, with little work for the cores that the server is on too."""
    if getattr(_OF_THREAD, "url", None) != url:
        _OF_THREAD.url = url
        _OF_THREAD.connection = HTTPConnection(url.removeprefix("http://"), timeout=3600)
    try:
        answer = _answered(_OF_THREAD.connection, body)
    except (ConnectionError, HTTPException):
        # Flask's own server closes connections that its answers said it would keep.
        _OF_THREAD.connection.close()
        answer = _answered(_OF_THREAD.connection, body)
    content = answer.read()
    assert answer.status == 200, content
    return content


def _answered(connection: HTTPConnection, body: bytes) -> HTTPResponse:
    connection.request("POST", "/invocations", body, CSV)
    return connection.getresponse()


def rate(url: str, lines: list[bytes], concurrent: int, payload: int) -> float:
    """Rows per second of lines packed into payloads of so many bytes; 0 sends one at a time."""
    strategy = BatchStrategy.MULTI_RECORD if payload else BatchStrategy.SINGLE_RECORD
    packed = list(payloads(io.BytesIO(b"".join(lines)), "lines", SplitType.LINE, strategy, payload or PAYLOAD))
    post(url, b"".join(lines[:32]))
    started = time.perf_counter()
    with ThreadPoolExecutor(concurrent) as pool:
        answers = list(pool.map(lambda sent: post(url, sent.body), packed))
    seconds = time.perf_counter() - started
    assert sum(answer.count(b"\n") for answer in answers) == len(lines)
    return len(lines) / seconds


def median_ms(call: Callable[[], object], times: int) -> float:
    call()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken))


if __name__ == "__main__":
    main()
