"""The real ``serve`` behind the platform's rules: health checks, invocations, retries, stopping."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from multimodal_algo.core.errors import UserError
from multimodal_algo.local.job import TransformJob
from multimodal_algo.local.runner import STOP_SERVING_S, Runner

# A batch container is pinged for up to 30 minutes, each try for 2 s.
_START_S = 30 * 60
_PING_TIMEOUT_S = 2
_MOMENT_S = 0.3
_MOST_CONNECTIONS = 100
_SHOWN_LOG_LINES = 5
_SHOWN_BODY = 500


class LocalServer:
    """Starts ``serve`` on a free port and waits until ``/ping`` answers 200; use it as a context.

    Parameters
    ----------
    runner
        How to start it.
    base
        Its ``/opt/ml`` tree, with ``model/``.
    environment
        Its environment beside what the runner sets.
    log
        File for its output.

    Attributes
    ----------
    url
        Where it answers, once it is healthy.
    process
        The program.
    """

    def __init__(self, runner: Runner, base: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self.url = ""
        # The platform's client keeps its connections too.
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=_MOST_CONNECTIONS))
        with log.open("wb") as stream:
            self._program = runner.start("serve", base, environment, stream)
        self.process = self._program.process

    def __enter__(self) -> LocalServer:
        try:
            self._wait_until_healthy()
        except BaseException:
            self._program.stop(STOP_SERVING_S)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._program.stop(STOP_SERVING_S)

    def execution_parameters(self) -> dict[str, Any]:
        """The server's answer to ``/execution-parameters``; empty where it has none."""
        response = requests.get(f"{self.url}/execution-parameters", timeout=60)
        return response.json() if response.status_code == 200 else {}

    def invoke(self, body: bytes | Callable[[], Iterable[bytes]], where: str, job: TransformJob) -> bytes:
        """Send one payload and return the answer.

        Parameters
        ----------
        body
            Its bytes; or what begins their chunks, for each try anew, which HTTP's chunked encoding is used for.
        where
            What it is in messages.
        job
            Headers, time-out and retries.

        Raises
        ------
        UserError
            The answer is not 2xx, or none comes, after all retries.
        """
        told = ""
        for _ in range(1 + job.invocations_max_retries):
            try:
                response = self._session.post(
                    f"{self.url}/invocations",
                    data=body if isinstance(body, bytes) else body(),
                    headers={"Content-Type": job.content_type, "Accept": job.accept},
                    timeout=job.invocations_timeout_s,
                )
            except requests.RequestException as error:
                told = f"no answer ({type(error).__name__})"
                if self._has_exited():
                    told = f"the server has exited with code {self.process.returncode}.{self._last_lines()}"
                    break
                continue
            if response.ok:
                return response.content
            told = f"HTTP {response.status_code}: {response.text[:_SHOWN_BODY].strip()}"
            if response.status_code < 500:
                break
        raise UserError(f"{where}: {told}")

    def log_text(self) -> str:
        """What the program has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if address := self._program.address():
                self.url = f"http://{address}"
                try:
                    if requests.get(f"{self.url}/ping", timeout=_PING_TIMEOUT_S).status_code == 200:
                        return
                except requests.RequestException:
                    pass
            if self._has_exited():
                raise UserError(
                    f"The server exited with code {self.process.returncode} before it was healthy.{self._last_lines()}"
                )
        raise UserError(f"The server did not answer /ping with 200 within {_START_S} s.{self._last_lines()}")

    def _has_exited(self) -> bool:
        """Whether the program has ended, after giving it a moment to."""
        try:
            self.process.wait(_MOMENT_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _last_lines(self) -> str:
        lines = self.log_text().strip().split("\n")[-_SHOWN_LOG_LINES:]
        return "".join(f"\n    {line}" for line in lines)
