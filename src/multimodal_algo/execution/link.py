"""The connection between the first host and each other host. Through it, all hosts learn when the job ends and why.

There is one TCP connection per host, with one JSON object per line. A host sends ``{"host": name}`` first, and
``{"failed": cause}`` if it cannot go on. The first host sends ``{"ray": address}`` when all hosts are connected, and
``{"end": cause or null}`` at the end. If a connection closes before the end, its host counts as lost.
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
"""Port of the first host. It sends Ray's own ports over the connection."""
# From a host that is cut off nothing arrives any more. It counts as lost after 10 + 3 * 5 s.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
_PAUSE_S = 0.5
_CONNECT_S = 5
_GOODBYE_S = 30


class Lost(PlatformError):
    """A host without which the job cannot go on has disappeared."""


class Leader:
    """The connections to all other hosts, as the first host uses them.

    Parameters
    ----------
    hosts
        Hosts of the job.
    port
        Port to listen on.
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
        """Wait until all other hosts are connected.

        Raises
        ------
        PlatformError
            A host did not connect in time, or reported a failure. The message names the host.
        """
        with self._changed:
            self._waited = not self._changed.wait_for(lambda: self._failed or not self._missing(), timeout_s)
        self.require_all_well()
        if missing := self._missing():
            verb = "have" if len(missing) > 1 else "has"
            raise PlatformError(
                f"{', '.join(missing)} {verb} not come within {timeout_s:g} s, of the hosts {self._hosts.summary()}. "
                "Look into the log of that host, and let the security group of a VPC allow traffic among its members."
            )

    def invite(self, address: str) -> None:
        """Send the address of Ray's head node to all other hosts, so that they can join Ray."""
        for line in list(self._lines.values()):
            line.send({"ray": address})

    def require_all_well(self) -> None:
        """Raise an error if a host has reported a failure. A host that has merely disappeared does not count.

        Raises
        ------
        PlatformError
            A host has reported a failure. The message has the name of the host and the cause.
        """
        with self._changed:
            for host, cause in self._failed.items():
                raise PlatformError(f"{host}: {cause}")

    @property
    def address(self) -> str:
        """IP address at which the other hosts reach this host. Empty until another host is connected."""
        with self._changed:
            return self._address

    def end(self, cause: str | None) -> None:
        """Report the end of the job to all other hosts, and wait some seconds for them.

        `cause` is the reason of a failure.
        """
        with self._changed:
            self._end = {"end": cause}
            lines = list(self._lines.values())
        for line in lines:
            line.send(self._end)
        with self._changed:
            # `gather` has waited for missing hosts already.
            self._changed.wait_for(lambda: not self._lines and (self._waited or not self._missing()), _GOODBYE_S)
        self._server.close()

    def _missing(self) -> list[str]:
        seen = {*self._lines, *self._gone}
        return [host for host in self._hosts.others if host not in seen]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # closed by `end`
            threading.Thread(target=self._listen, args=(_Line(connection),), daemon=True).start()

    def _listen(self, line: _Line) -> None:
        host = None
        for message in line:
            if host is None:
                host = message.get("host")
                if host not in self._hosts.others:
                    break
                with self._changed:
                    self._lines[host] = line
                    self._address = line.address
                    self._changed.notify_all()
                    end = self._end
                _LOG.info("hosts: %s is connected", host)
                if end is not None:
                    line.send(end)
            elif "failed" in message:
                with self._changed:
                    self._failed[host] = str(message["failed"])
                    self._changed.notify_all()
        line.close()
        if host is None:
            return
        with self._changed:
            if self._lines.get(host) is line:
                del self._lines[host]
                self._gone.append(host)
                if self._end is None and host not in self._failed:
                    _LOG.warning("hosts: %s was lost. The other hosts do its work again", host)
            self._changed.notify_all()


class Member:
    """The connection to the first host, as any other host uses it.

    Parameters
    ----------
    line
        Connection to the first host.
    first
        Name of the first host.
    """

    def __init__(self, line: _Line, first: str) -> None:
        self._line = line
        self._first = first
        self._messages = iter(line)

    @classmethod
    def join(cls, hosts: Hosts, timeout_s: float, port: int = PORT) -> Member:
        """Connect to the first host. Try again while its name is unknown or its program has not started.

        Raises
        ------
        PlatformError
            The first host was not reached in time.
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
        """Wait until all hosts are connected and Ray's head node runs, and return its address.

        Returns
        -------
        str or None
            Address of Ray's head node. None if the job has succeeded without Ray.

        Raises
        ------
        PlatformError
            The job has failed.
        Lost
            The first host has disappeared.
        """
        message = self._next()
        if "ray" in message:
            return str(message["ray"])
        self._end(message)
        return None

    def wait_for_end(self) -> None:
        """Wait until the job has succeeded.

        Raises
        ------
        PlatformError
            The job has failed. The message has the name of the host that failed, and the cause.
        Lost
            The first host has disappeared.
        """
        self._end(self._next())

    @property
    def address(self) -> str:
        """IP address at which the first host reaches this host."""
        return self._line.address

    def fail(self, cause: str) -> None:
        """Report to the first host that this host cannot go on, and why."""
        self._line.send({"failed": cause})

    def close(self) -> None:
        """Close the connection. The first host then knows that this host has learned of the end."""
        self._line.close()

    def _next(self) -> dict[str, Any]:
        for message in self._messages:
            return message
        raise Lost(
            f"{self._first}, the first host, was lost. Start the job again with its checkpoints. It goes on from the "
            "finished parts."
        )

    def _end(self, message: dict[str, Any]) -> None:
        if message.get("end") is not None:
            raise PlatformError(str(message["end"]))


class _Line:
    """A TCP connection that carries one JSON object per line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._reading = connection.makefile("r", encoding="utf-8")
        self._sending = threading.Lock()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError):  # the other end is gone, or sent something else
            for text in self._reading:
                message = json.loads(text)
                if isinstance(message, dict):
                    yield message

    @property
    def address(self) -> str:
        return str(self._connection.getsockname()[0])

    def send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError), self._sending:  # the loop that reads notices it
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
