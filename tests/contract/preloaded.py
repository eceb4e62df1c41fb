"""The program ``train`` in a process of its own that has the imports already.

Importing torch, AutoGluon and scikit-learn takes a new interpreter longer than a job that fails on its
data. `multiprocessing`'s fork server imports them once, and each job is a fork of it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["multimodal_algo.training.job", "multimodal_algo.training.program"])
# The fork server's socket lies in it. Made here, it is not in the temporary directory that the test session removes.
multiprocessing.util.get_temp_dir()


def run_train(environment: Mapping[str, str], log: Path) -> int:
    """Run the program with this environment and no other, and return its exit code. Its output is in `log`."""
    process = _CONTEXT.Process(target=_train, args=(dict(environment), log))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _train(environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    from multimodal_algo.cli import train_program

    train_program()
