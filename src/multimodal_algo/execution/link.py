"""The line between the first host and each other one: who has come, who is lost, and how the job ends.

One TCP connection per host, a JSON object a line. The others say ``{"host": name}``, and ``{"failed": cause}`` when
they cannot go on; the first one says ``{"ray": address}`` when all have come and ``{"end": cause or null}`` at last.
A connection that closes before that is a host that was lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution.hosts import Hosts

_LOG = logging.getLogger(__name__)

PORT = 6370
"""Where the first host listens; Ray's own ports are told over the line."""
# Of hosts that go without a word nothing arrives any more: they are missed after 10 + 3 * 5 s.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
_PAUSE_S = 0.5
_CONNECT_S = 5
_GOODBYE_S = 30


class Lost(PlatformError):
    """A host that other hosts need is gone."""


class Leader:
    """The first host's end of all lines.

    Parameters
    ----------
    hosts
        Who is to come.
    port
        Where it listens.
    """

    def __init__(self, hosts: Hosts, port: int = PORT) -> None:
        self._hosts = hosts
        self._lines: dict[str, _Line] = {}
        self._failed: dict[str, str] = {}
        self._gone: list[str] = []
        self._end: dict[str, Any] | None = None
        self._waited = False
        self._address = ""
        self._changed = threading.Condition()
        self._server = socket.create_server(("0.0.0.0", port), backlog=len(hosts.names))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="hosts", daemon=True).start()

    def gather(self, timeout_s: float) -> None:
        """Wait until all hosts have come.

        Raises
        ------
        PlatformError
            Some did not come in time, or failed; it names them.
        """
        with self._changed:
            self._waited = not self._changed.wait_for(lambda: self._failed or not self._missing(), timeout_s)
        self.require_all_well()
        if missing := self._missing():
            verb = "have" if len(missing) > 1 else "has"
            raise PlatformError(
                f"{', '.join(missing)} {verb} not come within {timeout_s:g} s, of the hosts {self._hosts.told()}. "
                "Look into the log of that host, and let the security group of a VPC allow traffic among its members."
            )

    def invite(self, address: str) -> None:
        """Tell all hosts where the head of Ray is."""
        for line in list(self._lines.values()):
            line.send({"ray": address})

    def require_all_well(self) -> None:
        """Look whether hosts have failed; one that was lost has not.

        Raises
        ------
        PlatformError
            The host and the cause.
        """
        with self._changed:
            for host, cause in self._failed.items():
                raise PlatformError(f"{host}: {cause}")

    @property
    def address(self) -> str:
        """IP address of the first host, as the others reach it, once one has come."""
        with self._changed:
            return self._address

    def end(self, cause: str | None) -> None:
        """Tell all hosts that the job has ended, and why it failed if it did; wait a while until they have heard it."""
        with self._changed:
            self._end = {"end": cause}
            lines = list(self._lines.values())
        for line in lines:
            line.send(self._end)
        with self._changed:
            # Who was waited for in vain before is not waited for again.
            self._changed.wait_for(lambda: not self._lines and (self._waited or not self._missing()), _GOODBYE_S)
        self._server.close()

    def _missing(self) -> list[str]:
        come = {*self._lines, *self._gone}
        return [host for host in self._hosts.others if host not in come]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # closed by `end`
            threading.Thread(target=self._listen, args=(_Line(connection),), daemon=True).start()

    def _listen(self, line: _Line) -> None:
        host = None
        for said in line:
            if host is None:
                host = said.get("host")
                if host not in self._hosts.others:
                    break
                with self._changed:
                    self._lines[host] = line
                    self._address = line.address
                    self._changed.notify_all()
                    end = self._end
                _LOG.info("hosts: %s has come", host)
                if end is not None:
                    line.send(end)
            elif "failed" in said:
                with self._changed:
                    self._failed[host] = str(said["failed"])
                    self._changed.notify_all()
        line.close()
        if host is None:
            return
        with self._changed:
            if self._lines.get(host) is line:
                del self._lines[host]
                self._gone.append(host)
                if self._end is None and host not in self._failed:
                    _LOG.warning("hosts: %s was lost; the others do its work again", host)
            self._changed.notify_all()


class Member:
    """The end of the line of any other host.

    Parameters
    ----------
    line
        The connection to the first host.
    first
        Its name.
    """

    def __init__(self, line: _Line, first: str) -> None:
        self._line = line
        self._first = first
        self._said = iter(line)

    @classmethod
    def join(cls, hosts: Hosts, timeout_s: float, port: int = PORT) -> Member:
        """Reach the first host, whose name may not be known yet, nor its program run.

        Raises
        ------
        PlatformError
            It was not reached in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = _Line(socket.create_connection((hosts.first, port), timeout=_CONNECT_S))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"{hosts.first}, the first host, was not reached from {hosts.current} within {timeout_s:g} s "
                        f"({error}). Look into its log."
                    ) from None
                time.sleep(_PAUSE_S)
        line.send({"host": hosts.current})
        return cls(line, hosts.first)

    def invitation(self) -> str | None:
        """Wait for the others.

        Returns
        -------
        str or None
            Where the head of Ray is; None where the job has ended well before it was needed.

        Raises
        ------
        PlatformError
            The job has failed.
        Lost
            The first host is gone.
        """
        said = self._next()
        if "ray" in said:
            return str(said["ray"])
        self._end(said)
        return None

    def wait_for_end(self) -> None:
        """Wait until the job has ended well.

        Raises
        ------
        PlatformError
            It has failed: the cause, which names its host.
        Lost
            The first host is gone.
        """
        self._end(self._next())

    @property
    def address(self) -> str:
        """IP address of the host, as the first one reaches it."""
        return self._line.address

    def fail(self, cause: str) -> None:
        """Tell that this host cannot go on."""
        self._line.send({"failed": cause})

    def close(self) -> None:
        """Tell that the end was heard."""
        self._line.close()

    def _next(self) -> dict[str, Any]:
        for said in self._said:
            return said
        raise Lost(
            f"{self._first}, the first host, was lost. Start the job again with its checkpoints: it goes on with what "
            "is finished."
        )

    def _end(self, said: dict[str, Any]) -> None:
        if said.get("end") is not None:
            raise PlatformError(str(said["end"]))


class _Line:
    """JSON objects over a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._reading = connection.makefile("r", encoding="utf-8")
        self._sending = threading.Lock()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError):  # gone, or nothing that we said
            for text in self._reading:
                said = json.loads(text)
                if isinstance(said, dict):
                    yield said

    @property
    def address(self) -> str:
        return str(self._connection.getsockname()[0])

    def send(self, said: dict[str, Any]) -> None:
        with contextlib.suppress(OSError), self._sending:  # whoever listens finds out
            self._connection.sendall(json.dumps(said).encode() + b"\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
