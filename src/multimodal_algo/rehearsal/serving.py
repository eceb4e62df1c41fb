"""The checks of the server: the transform job of the validation profile, and every declared request format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.local import SplitType, TransformSettings, transform
from multimodal_algo.local.runner import Runner
from multimodal_algo.local.server import LocalServer
from multimodal_algo.local.transform import extract
from multimodal_algo.rehearsal import data
from multimodal_algo.rehearsal.checks import Fault, Findings
from multimodal_algo.rehearsal.profile import CSV, Profile

_TOLERANCE = 1e-4


class ServingChecks:
    """Runs the checks of the server.

    Parameters
    ----------
    profile
        Validation profile of the request. Its training job has already made the artifact.
    runner
        Starts the program ``serve``.
    output
        Folder for predictions and the server's log.
    findings
        Collects the results of the checks.
    """

    def __init__(self, profile: Profile, runner: Runner, output: Path, findings: Findings) -> None:
        self._profile, self._runner, self._output, self._findings = profile, runner, output, findings

    def check_profile(self) -> None:
        """Run the transform job of the validation profile, if the profile has one."""
        if self._profile.transform:
            with self._findings.check("transform job of the validation profile") as seen:
                seen.extend(self._transform())

    def check_declarations(self) -> None:
        """Check every declared request format.

        Also check that each line's answer is the same without the other lines.
        """
        columns, rows = self._profile.inference_rows()
        with ExitStack() as stack:
            server: LocalServer | None = None
            with self._findings.check("the server starts"):
                server = self._start(stack)
            if server is None:
                return
            requests = _Requests(server, columns, rows)
            inference = self._profile.request["InferenceSpecification"]
            for content_type in inference["SupportedContentTypes"]:
                for accept in inference["SupportedResponseMIMETypes"]:
                    with self._findings.check(f"request of {content_type}, response of {accept}"):
                        requests.check_format(content_type, accept)
            with self._findings.check("a line's answer is the same alone, and at its place"):
                requests.check_lines_are_independent()

    def _start(self, stack: ExitStack) -> LocalServer:
        base = self._profile.scratch / "ml"
        extract(self._profile.archive, base / "model")
        environment = TransformSettings().environment()
        return stack.enter_context(LocalServer(self._runner, base, environment, self._output / "serve.log"))

    def _transform(self) -> Iterator[str]:
        settings = TransformSettings.of_request(self._profile.transform)
        lines, output = self._profile.lines_data, self._output / "predictions"
        transform(self._profile.archive, lines, settings, output=output, runner=self._runner)
        for path, answers in _inputs_and_answers(lines, output):
            sent, received = _records(path), _records(answers)
            if settings.split_type is SplitType.LINE and len(sent) != len(received):
                raise Fault(f"{path.name}: {len(received)} lines of output for {len(sent)} of input.")
            if empty := [number for number, line in enumerate(received, start=1) if not line.strip(b"\r\n,")]:
                raise Fault(f"{answers.name}: line {empty[0]} is empty.")
            yield f"{path.name}: {len(sent)} lines in, {len(received)} out"


@dataclass(frozen=True)
class _Requests:
    """Sends the rows of a rehearsal to a running server, and checks the answers.

    Parameters
    ----------
    server
        The running server.
    columns
        Names of the columns of each row.
    rows
        Cells of each row.
    """

    server: LocalServer
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def check_format(self, content_type: str, accept: str) -> None:
        """Send all rows in one format, and check that there is one answer for each row."""
        if content_type not in data.BODIES or accept not in data.ANSWERS:
            raise Fault("the rehearsal knows no such format.")
        body = data.BODIES[content_type](self.columns, self.rows)
        answer = self.server.invoke(body, "request", TransformSettings(content_type=content_type, accept=accept))
        try:
            count = data.ANSWERS[accept](answer)
        except (ValueError, KeyError) as error:
            raise Fault(f"the answer cannot be read ({error}): {answer[:60]!r}") from None
        self._require_all_answers(count)

    def check_lines_are_independent(self) -> None:
        """Send each row alone, and check that its answer is the same as in a request with all rows."""
        together = self._lines(self.rows)
        self._require_all_answers(len(together))
        for number, row in enumerate(self.rows):
            alone = self._lines([row])
            if len(alone) != 1 or not _are_close(alone[0], together[number]):
                raise Fault(f"line {number + 1}: {alone!r} alone, {together[number]!r} among other lines.")

    def _lines(self, rows: Sequence[Sequence[str]]) -> list[bytes]:
        return self.server.invoke(data.BODIES[CSV](self.columns, rows), "request", TransformSettings()).splitlines()

    def _require_all_answers(self, count: int) -> None:
        if count != len(self.rows):
            raise Fault(f"{count} answers to {len(self.rows)} rows.")


def _inputs_and_answers(lines: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Return pairs of paths: each input file of a transform job, and the file with its answers."""
    files = [lines] if lines.is_file() else [path for path in sorted(lines.rglob("*")) if path.is_file()]
    root = lines.parent if lines.is_file() else lines
    return ((path, output / f"{path.relative_to(root).as_posix()}.out") for path in files)


def _records(path: Path) -> list[bytes]:
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def _are_close(line: bytes, expected: bytes) -> bool:
    """Return whether two lines are equal, apart from rounding of numbers."""
    pairs = list(zip(line.decode().split(","), expected.decode().split(","), strict=False))
    return line.count(b",") == expected.count(b",") and all(
        a == b or (data.is_number(a) and data.is_number(b) and abs(float(a) - float(b)) < _TOLERANCE) for a, b in pairs
    )
