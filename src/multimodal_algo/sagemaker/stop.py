"""Ends the process when SageMaker requests it: by SIGTERM, which SIGKILL follows some time later."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

EXIT_CODE = 128 + signal.SIGTERM


def exit_on_sigterm(before_exit: Callable[[], None]) -> None:
    """Install a handler that calls `before_exit` and ends the process as soon as SIGTERM arrives.

    Process 1 of a container ignores SIGTERM unless it has a handler. Python runs a handler only between two
    instructions of the main thread, and the main thread may be inside a library for minutes. So a thread of its own
    waits for the number of the signal, which Python writes into a pipe at once.

    This must be called from the main thread.
    """
    arrived, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def wait() -> None:
        while os.read(arrived, 1) != bytes([signal.SIGTERM]):
            pass
        try:
            before_exit()
        finally:
            os._exit(EXIT_CODE)

    threading.Thread(target=wait, name="wait-for-sigterm", daemon=True).start()
