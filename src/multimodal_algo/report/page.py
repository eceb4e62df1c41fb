"""``report.html``: the results of a training job as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from multimodal_algo.report.advice import advice
from multimodal_algo.report.calibration import calibration
from multimodal_algo.report.classes import classes, confusion, frequent_mistakes
from multimodal_algo.report.columns import columns
from multimodal_algo.report.doubtful import doubtful
from multimodal_algo.report.formats import number, percent, shortened
from multimodal_algo.report.job_facts import data, facts, time_spent
from multimodal_algo.report.mistakes import mistakes
from multimodal_algo.report.predicted import predicted
from multimodal_algo.report.regression import ranges, residuals
from multimodal_algo.report.scores import branches, modalities, scores
from multimodal_algo.report.section import ReportedJob, SectionMaker
from multimodal_algo.report.thresholds import thresholds

PAGE = "report.html"
"""Name of the report in the platform's output directory."""

SECTIONS: tuple[SectionMaker, ...] = (
    scores,
    advice,
    branches,
    modalities,
    columns,
    confusion,
    calibration,
    thresholds,
    frequent_mistakes,
    classes,
    predicted,
    residuals,
    ranges,
    mistakes,
    doubtful,
    data,
    time_spent,
)
"""The sections of the report, in their order. Half sections that follow each other share a row."""


def write_page(job: ReportedJob, directory: Path) -> None:
    """Write the report of a job as ``report.html`` into the output directory."""
    (directory / PAGE).write_text(render_page(job), encoding="utf-8")


def render_page(job: ReportedJob) -> str:
    """Return the report as one HTML page."""
    environment = Environment(
        loader=PackageLoader("multimodal_algo.report"), autoescape=select_autoescape(["html"]),
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "shortened": shortened, "zip": _zipped}
    made = [section for make in SECTIONS if (section := make(job)) is not None]
    return environment.get_template("page.html").render(facts=facts(job), sections=made)


def _zipped(first: Iterable[Any], second: Iterable[Any]) -> list[tuple[Any, Any]]:
    return list(zip(first, second, strict=True))
