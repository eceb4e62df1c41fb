"""Random attacks on a server, while other clients compare their answers.

    python benchmarks/attacks.py MODEL.tar.gz DATA/test_noheader.csv --minutes 60 --kills 3

Attackers send the bodies of ``tests/contract/attacks/hostile.py``, damaged bodies and damaged HTTP, drip bytes, and
leave. With ``--kills`` a worker is killed as often a minute. Honest clients send rows and compare the answers with
those of a quiet server. A client pings all the time. The script prints one JSON line: answers by status, wrong answers,
internal errors, the longest ping, the most memory, and the workers that died by themselves.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import signal
import socket
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import requests

from multimodal_algo.core.log import configure_logging
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/contract/attacks"))
import hostile

csv.field_size_limit(2**31 - 1)
TYPES = ("text/csv", "application/jsonlines", "application/json", "application/x-parquet")
# Probabilities differ by rounding, since other rows of a batch change the order of sums.
ROUNDING = 1e-3


class Attack:
    """A server under attack, and what was seen."""

    def __init__(self, server: LocalServer, lines: list[bytes], seed: int) -> None:
        self.server = server
        self.lines = lines
        self.seed = seed
        self.stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.longest_ping = self.most_mb = 0.0
        self.killed: set[int] = set()
        self.expected = {line: self.answers(line)[0] for line in lines}
        self.bodies = {name: (kind, make()) for name, (kind, make) in (hostile.REFUSED | hostile.ANSWERED).items()}

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that serve."""
        return list(psutil.Process(self.server.process.pid).children())

    def post(self, body: bytes, kind: str = "text/csv") -> requests.Response:
        """Send a body, and count the status of its answer."""
        headers = {"Content-Type": kind, "Accept": "text/csv"}
        response = requests.post(f"{self.server.url}/invocations", data=body, headers=headers, timeout=600)
        self.seen[str(response.status_code)] += 1
        return response

    def answers(self, body: bytes) -> list[list[str]]:
        """Return the rows of an answer."""
        response = self.post(body)
        response.raise_for_status()
        return list(csv.reader(io.StringIO(response.text)))

    def honest(self, choice: random.Random) -> None:
        """Send rows, and compare their answers."""
        some = choice.choices(self.lines, k=choice.choice([1, 1, 5, 40]))
        try:
            answers = self.answers(b"\n".join(some))
        except requests.ConnectionError:
            self.seen["cut off"] += 1
            return
        expected = [self.expected[line] for line in some]
        right = len(answers) == len(some) and all(map(same, answers, expected))
        self.seen["right" if right else "WRONG"] += 1

    def attack(self, choice: random.Random) -> None:
        """Do something hostile."""
        how = choice.choice([self._body, self._damaged, self._damaged, self._broken, self._drip, self._leave])
        try:
            how(choice)
        except (OSError, requests.RequestException):
            self.seen["attack cut off"] += 1

    def _body(self, choice: random.Random) -> None:
        kind, body = self.bodies[choice.choice(list(self.bodies))]
        self.post(body, kind)

    def _damaged(self, choice: random.Random) -> None:
        body = bytearray(b"\n".join(choice.choices(self.lines, k=5)))
        for _ in range(choice.randrange(1, 30)):
            body[choice.randrange(len(body))] = choice.choice(b'\0\xff",;\r\n[{}]0a')
        self.post(bytes(body[: choice.randrange(len(body))]), choice.choice(TYPES))

    def _broken(self, choice: random.Random) -> None:
        request = bytearray(self._request(b"\n".join(choice.choices(self.lines, k=2))))
        for _ in range(choice.randrange(1, 5)):
            request[choice.randrange(200)] = choice.randrange(256)
        with self._connect() as connection:
            connection.sendall(request[: choice.randrange(len(request))])
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        self.seen["raw " + answer[9:12].decode("latin-1")] += 1

    def _drip(self, choice: random.Random) -> None:
        connections = [self._connect() for _ in range(50)]
        for byte in self._request(b"x" * 1000)[: choice.randrange(150)]:
            for connection in connections:
                connection.sendall(bytes([byte]))
            time.sleep(0.05)
        for connection in connections:
            connection.close()

    def _leave(self, choice: random.Random) -> None:
        for _ in range(20):
            with self._connect() as connection:
                connection.sendall(self._request(b"\n".join(choice.choices(self.lines, k=20))))

    def _request(self, body: bytes) -> bytes:
        begin = (
            f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return begin.encode() + body

    def _connect(self) -> socket.socket:
        host, port = self.server.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=60)

    def ping(self, _: random.Random) -> None:
        """Measure a ping, and the memory."""
        began = time.monotonic()
        try:
            status = requests.get(f"{self.server.url}/ping", timeout=60).status_code
        except requests.ConnectionError:
            status = 0  # its worker was killed
        self.seen[f"ping {status}"] += 1
        self.longest_ping = max(self.longest_ping, time.monotonic() - began)
        self.most_mb = max([self.most_mb, *(worker.memory_info().rss / 1e6 for worker in self.workers)])
        time.sleep(0.1)

    def kill(self, choice: random.Random, every_s: float) -> None:
        """Wait, and kill a worker."""
        if not self.stop.wait(every_s):
            victim = choice.choice(self.workers)
            self.killed.add(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    def forever(self, act: Callable[[random.Random], None], seed: int) -> None:
        """Act until the end."""
        choice = random.Random(seed)
        while not self.stop.is_set():
            try:
                act(choice)
            except Exception as error:
                self.seen[f"client: {type(error).__name__} {str(error)[:80]}"] += 1


def same(answer: list[str], expected: list[str]) -> bool:
    return answer[:2] == expected[:2] and abs(float(answer[2]) - float(expected[2])) < ROUNDING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kills", type=float, default=0, help="workers killed a minute")
    parser.add_argument("--clients", type=int, default=4, help="honest clients, and as many attackers")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    configure_logging()
    lines = [line for line in arguments.lines.read_bytes().split(b"\n") if line and line.count(b'"') % 2 == 0]
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        with tarfile.open(arguments.model) as tar:
            tar.extractall(base / "model", filter="data")
        with LocalServer(ProcessRunner(), base, {}, base / "serve.log") as server:
            attack = Attack(server, lines, arguments.seed)
            acts = [attack.ping, *[attack.honest, attack.attack] * arguments.clients]
            if arguments.kills:
                acts.append(lambda choice: attack.kill(choice, 60 / arguments.kills))
            first = {worker.pid for worker in attack.workers}
            threads = [
                threading.Thread(target=attack.forever, args=(act, arguments.seed + number))
                for number, act in enumerate(acts)
            ]
            for thread in threads:
                thread.start()
            time.sleep(60 * arguments.minutes)
            attack.stop.set()
            for thread in threads:
                thread.join()
            died = first - {worker.pid for worker in attack.workers} - attack.killed
            log = server.log_text()
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": "attacks",
        "minutes": arguments.minutes,
        "killed": len(attack.killed),
        "seen": dict(sorted(attack.seen.items())),
        "internal_errors": log.count("Traceback"),
        "died": len(died) + log.count("Perhaps out of memory") - len(attack.killed),
        "longest_ping_s": round(attack.longest_ping, 2),
        "most_mb": round(attack.most_mb),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
