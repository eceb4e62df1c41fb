"""One page with the plots of ``results.jsonl``.

    make bench-report
    python benchmarks/report.py benchmarks/results.jsonl --output build/bench-report.html

It plots accuracy and log-loss against seconds for qualities and for AutoGluon's predictors on the same data, speed
against agreement of engines, seconds and memory of jobs against the size of their data, and rates of ours and of peers
side by side. A plot without lines in the file is left out. The plots are SVG inside the page.
"""

from __future__ import annotations

import argparse
import html
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Line = Mapping[str, Any]
STYLE = "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}svg{max-width:100%;height:auto}"
SIZES = {"rows": "rows", "columns": "columns", "classes": "classes", "letters": "letters of a text"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, default=Path("build/bench-report.html"))
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines() if line]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(page(lines), encoding="utf-8")
    print(arguments.output)


def page(lines: Sequence[Line]) -> str:
    sections = [*qualities(lines), *engines(lines), *growth(lines), *peers(lines)]
    parts = "".join(f"<h2>{html.escape(title)}</h2>{svg}<p>{html.escape(note)}</p>" for title, svg, note in sections)
    head = f'<!doctype html><meta charset="utf-8"><title>Benchmarks</title><style>{STYLE}</style>'
    return f"{head}<h1>Benchmarks</h1>{parts}"


def of_kind(lines: Iterable[Line], name: str) -> list[Line]:
    return [line for line in lines if line.get("benchmark") == name]


def drawn(draw: Callable[[Axes], object], axes: int = 1) -> str:
    """Return the SVG of a figure, whose axes `draw` fills from left to right."""
    figure, found = plt.subplots(1, axes, figsize=(5.5 * axes, 4), squeeze=False)
    for number, each in enumerate(found[0]):
        draw(each) if axes == 1 else draw(each, number)  # type: ignore[call-arg]
    figure.tight_layout()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(figure)
    return stream.getvalue()[stream.getvalue().index("<svg") :]


def qualities(lines: Sequence[Line]) -> Iterable[tuple[str, str, str]]:
    """Yield accuracy and log-loss against the seconds of each quality and peer, one section per data set."""
    by_data: dict[str, list[Line]] = defaultdict(list)
    for line in of_kind(lines, "quality"):
        by_data[line["data"]].append(line)
    for data, found in sorted(by_data.items()):

        def draw(axes: Axes, number: int, found: Sequence[Line] = found) -> None:
            score = ("accuracy", "log_loss")[number]
            for line in found:
                axes.plot(line["s"], line[score], "o")
                axes.annotate(str(line["what"]), (line["s"], line[score]), fontsize=7, rotation=20)
            axes.set(xscale="log", xlabel="seconds of training and prediction", ylabel=score.replace("_", "-"))

        yield f"Qualities and peers: {data}", drawn(draw, 2), f"{len(found)} lines of quality.py."


def engines(lines: Sequence[Line]) -> Iterable[tuple[str, str, str]]:
    """Yield the log-loss of a linear model on the vectors of each engine against its milliseconds."""
    found = [line for line in of_kind(lines, "engines") if "network" in line]
    if not found:
        return

    def draw(axes: Axes) -> None:
        for line in found:
            losses = line["train, serve: log-loss, flips in %"]
            points = [(line["cpu_ms"][engine], losses[f"{engine}, {engine}"][0]) for engine in line["cpu_ms"]]
            axes.plot(*zip(*points, strict=True), "o-", label=f"{line['network']}, {line['data']}")
            for engine, point in zip(line["cpu_ms"], points, strict=True):
                axes.annotate(engine, point, fontsize=7)
        axes.set(xscale="log", xlabel="CPU milliseconds of a cell", ylabel="log-loss of a linear model")
        axes.legend(fontsize=6)

    yield "Engines of frozen networks", drawn(draw), f"{len(found)} lines of engines.py."


def growth(lines: Sequence[Line]) -> Iterable[tuple[str, str, str]]:
    """Yield seconds and memory against the size of the data, one section per axis."""
    for axis, name in SIZES.items():
        newest = {line["size"]: line for line in of_kind(lines, "growth") if line["axis"] == axis}
        found = [newest[size] for size in sorted(newest)]
        if not found:
            continue
        sizes = [line["size"] for line in found]

        def draw(axes: Axes, number: int, found: Sequence[Line] = found, name: str = name) -> None:
            series = (("ingest_s", "wall_after", "cpu_after", "write_s"), ("peak_mb",))[number]
            for key in series:
                axes.plot([line["size"] for line in found], [line[key] for line in found], "o-", label=key)
            axes.set(xscale="log", yscale="log", xlabel=name, ylabel=("seconds", "MB")[number])
            axes.legend(fontsize=7)

        sampled = "; ".join(f"{line['size']}: {line['sampled']}" for line in found if line["sampled"])
        note = f"growth.py, {sizes[0]:,} to {sizes[-1]:,}. Branches that saw a part of the rows: {sampled or 'none'}."
        yield f"Growth with the {name}", drawn(draw, 2), note


def peers(lines: Sequence[Line]) -> Iterable[tuple[str, str, str]]:
    """Yield the rates of ours next to those of a peer in the same run."""
    pairs = [
        (f"{line['benchmark']}, {line['photos']}", line["ours_rows_per_s"], line["pandas_and_pillow_rows_per_s"])
        for line in lines
        if "pandas_and_pillow_rows_per_s" in line
    ]
    for line in of_kind(lines, "serving speed"):
        for ours, peer in (("multi", "obvious_multi"), ("single", "obvious_single")):
            if f"{peer}_rows_per_s" in line:
                rates = line[f"{ours}_rows_per_s"], line[f"{peer}_rows_per_s"]
                pairs.append((f"serving {line['data']}, {ours}", *rates))
    if not pairs:
        return

    def draw(axes: Axes) -> None:
        for row, (_, ours, peer) in enumerate(pairs):
            axes.barh(row + 0.2, ours, 0.4, color="tab:blue", label="ours" if not row else None)
            axes.barh(row - 0.2, peer, 0.4, color="tab:gray", label="peer" if not row else None)
        axes.set(xscale="log", xlabel="rows per second")
        axes.set_yticks(range(len(pairs)), [name for name, _, _ in pairs], fontsize=7)
        axes.legend(fontsize=7)

    yield "Peers side by side", drawn(draw), "Pandas and Pillow, and a container of Flask, pandas and torch."


if __name__ == "__main__":
    main()
