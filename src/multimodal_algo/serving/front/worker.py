"""The front as a gunicorn worker, so that gunicorn starts it, watches it and replaces it."""

from __future__ import annotations

import os

from gunicorn.workers.base import Worker

from multimodal_algo.serving.front.conversation import HttpAnswer, HttpRequest
from multimodal_algo.serving.front.gateway import IsGone, call
from multimodal_algo.serving.front.loop import Front


class FrontWorker(Worker):
    """A gunicorn worker that runs a `Front`. The application's ``front_limits`` say how much the front may use.

    Gunicorn's documentation recommends subclasses of its `Worker` for a server of one's own.
    """

    def run(self) -> None:
        """Serve until the worker is stopped or its parent process has ended. Gunicorn calls this method."""
        for listener in self.sockets:
            listener.setblocking(False)
        Front([listener.sock for listener in self.sockets], self._handle, self.app.front_limits).run(self._beat)

    def _handle(self, request: HttpRequest, is_gone: IsGone) -> HttpAnswer:
        return call(self.wsgi, request, is_gone)

    def _beat(self) -> bool:
        self.notify()
        return self.alive and self.ppid == os.getppid()
