"""Starts the real ``serve`` and treats it as SageMaker does: health checks, requests, retries, stopping."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from multimodal_algo.config.transform import TransformSettings
from multimodal_algo.core.errors import UserError
from multimodal_algo.local.runner import STOP_SERVING_S, Runner

# The platform waits up to 30 minutes for the first answer to a ping, and 2 s for each. Source: developer guide,
# *your-algorithms-batch-code*.
_START_S = 30 * 60
_PING_TIMEOUT_S = 2
_MOMENT_S = 0.3
_MAX_CONNECTIONS = 100
_SHOWN_LOG_LINES = 5
_SHOWN_BODY = 500


class LocalServer:
    """A running ``serve``, used as a context. It is entered as soon as ``/ping`` answers 200.

    Leaving it stops ``serve``.

    Parameters
    ----------
    runner
        Starts the program.
    base
        Directory that stands for ``/opt/ml``. Its folder ``model`` has the artifact.
    environment
        Environment variables, in addition to those that the runner sets.
    log
        File for the output of ``serve``.

    Attributes
    ----------
    url
        Address of the healthy server, for example ``http://127.0.0.1:8080``.
    process
        Process of the program.
    """

    def __init__(self, runner: Runner, base: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self.url = ""
        # The platform's client also reuses its connections.
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=_MAX_CONNECTIONS))
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
        """Return the server's answer to ``/execution-parameters``. Empty if the server does not answer this path."""
        response = requests.get(f"{self.url}/execution-parameters", timeout=60)
        return response.json() if response.status_code == 200 else {}

    def invoke(self, body: bytes | Callable[[], Iterable[bytes]], where: str, settings: TransformSettings) -> bytes:
        """Send one payload (request body) to the server, and return the answer.

        Parameters
        ----------
        body
            Bytes of the payload. Or a function that returns the payload in chunks, which is called for each try.
        where
            Name of the payload in messages.
        settings
            Headers, time-out and retries.

        Raises
        ------
        UserError
            The server exits, refuses the payload (4xx), or does not answer with 2xx in all tries.
        """
        problem = ""
        for _ in range(1 + settings.invocations_max_retries):
            try:
                response = self._session.post(
                    f"{self.url}/invocations",
                    data=body if isinstance(body, bytes) else body(),
                    headers={"Content-Type": settings.content_type, "Accept": settings.accept},
                    timeout=settings.invocations_timeout_s,
                )
            except requests.RequestException as error:
                problem = f"no answer ({type(error).__name__})"
                if self._has_exited():
                    problem = f"the server has exited with code {self.process.returncode}.{self.last_lines()}"
                    break
                continue
            if response.ok:
                return response.content
            problem = f"HTTP {response.status_code}: {response.text[:_SHOWN_BODY].strip()}"
            if response.status_code < 500:
                break
        raise UserError(f"{where}: {problem}")

    def log_text(self) -> str:
        """Return everything that ``serve`` has logged so far."""
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
                    f"The server exited with code {self.process.returncode} before it was healthy.{self.last_lines()}"
                )
        raise UserError(f"The server did not answer /ping with 200 within {_START_S} s.{self.last_lines()}")

    def _has_exited(self) -> bool:
        """Return whether the program has ended. Wait a moment first, in case it is about to end."""
        try:
            self.process.wait(_MOMENT_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_lines(self) -> str:
        """Return the last lines of the program's output. A newline and blanks precede each line."""
        lines = self.log_text().strip().split("\n")[-_SHOWN_LOG_LINES:]
        return "".join(f"\n    {line}" for line in lines)
