"""Serves a model on this machine until it is interrupted: ``multimodal-algo local serve``."""

from __future__ import annotations

import json
import shlex
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from multimodal_algo.artifact import ModelConfig, artifact_folder, read_description
from multimodal_algo.core.schema import ID, FeatureSchema, Modality, modality_of
from multimodal_algo.core.storage import Location, local_file
from multimodal_algo.local.runner import Runner
from multimodal_algo.local.server import LocalServer
from multimodal_algo.local.transform import extract

_EXAMPLES: dict[Modality, str | int] = {
    Modality.TEXT: "some words",
    Modality.NUM: 1,
    Modality.CAT: "a value",
    Modality.IMAGE: "",
}
_DAY = "2024-12-31"


def serve(model: Location, runner: Runner, *, lines: Path | None = None, report: Callable[[str], object]) -> None:
    """Start the real ``serve`` on a model archive, print a command that sends a request, and wait until it ends.

    Parameters
    ----------
    model
        A ``model.tar.gz``: a path, or a ``file://`` or ``s3://`` URI.
    runner
        Runner that starts the program.
    lines
        File with lines for inference. A second printed command sends it. None to print only the command with a made-up
        row.
    report
        Function that prints a line.

    Raises
    ------
    UserError
        The archive is not a model, or the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="multimodal-serve-") as scratch:
        base, log = Path(scratch) / "ml", Path(scratch) / "serve.log"
        extract(local_file(model, Path(scratch) / "archive"), base / "model")
        config = read_description(artifact_folder(base / "model"))
        report("starting the server …")
        with LocalServer(runner, base, {}, log) as server, suppress(KeyboardInterrupt):
            # A shell starts background commands deaf to SIGINT, and SIGTERM alone would leave the server behind.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            report(f"The server is ready at {server.url}, and its log is {log}. Ask it from another terminal:")
            report("")
            report(_curl(server.url, "application/json", f"-d {shlex.quote(example_row(config))}"))
            if lines is not None:
                report(_curl(server.url, "text/csv", f"--data-binary @{shlex.quote(str(lines))}"))
            report("")
            report("Ctrl-C stops it.")
            server.process.wait()
            report("The server has ended. The end of its log:")
            report(server.last_lines())


def example_row(config: ModelConfig) -> str:
    """Return a made-up row as a JSON object, with the column names of the training table. Images are empty."""
    names = config.names
    columns = FeatureSchema(names.in_tables(config.columns)).inference_columns
    row = {names.own(column): _example(column) for column in columns}
    return json.dumps(row, ensure_ascii=False)


def _example(column: str) -> str | int:
    modality = modality_of(column)
    if modality is None:
        return "1" if column == ID else _DAY
    return _EXAMPLES[modality]


def _curl(url: str, content_type: str, body: str) -> str:
    return f"curl {url}/invocations -H 'Content-Type: {content_type}' {body}"
