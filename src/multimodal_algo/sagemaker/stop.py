"""Being stopped: the platform sends SIGTERM, and SIGKILL a while later."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

EXIT_CODE = 128 + signal.SIGTERM


def exit_on_sigterm(before_exit: Callable[[], None]) -> None:
    """End the process as soon as SIGTERM arrives, whatever it is doing, after calling `before_exit`.

    As process 1 of a container, a program without a handler is not stopped by SIGTERM at all. Python runs handlers
    between two instructions of the main thread, which may be in a library's loop for minutes; so a thread waits for
    the signal's number, which is written at once. Call it from the main thread.
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
