"""The HTML page that shows how new rows differ from the training rows. It is a single file."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape

from multimodal_algo.monitoring.comparison import Difference, Drift

_MOST_BARS = 34


def page_of(name: str, drift: Drift, sentences: Sequence[str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    name
        Name of the file of the new rows.
    drift
        The comparison.
    sentences
        More results, as sentences.
    """
    environment = Environment(
        loader=PackageLoader("multimodal_algo.monitoring", "."), autoescape=select_autoescape(["html"]),
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    shown = sorted(drift.differences, key=lambda each: not each.differs)
    rows = [(each, _bars(each)) for each in shown]
    return environment.get_template("drift.html").render(name=name, drift=drift, sentences=sentences, rows=rows)


def _bars(difference: Difference) -> list[tuple[str, float, float]]:
    """Return a tuple for each bin: its name, its share of the training rows, and its share of the new rows."""
    measure = difference.measure
    before, after = (counts / max(1, int(counts.sum())) for counts in (measure.counts, difference.new))
    if measure.is_ordered:
        names = [f"up to {edge:.4g}" for edge in measure.edges] + ["above"]
    else:
        names = [value or "other" for value in measure.names]
    return list(zip(names, before.tolist(), after.tolist(), strict=True))[:_MOST_BARS]
