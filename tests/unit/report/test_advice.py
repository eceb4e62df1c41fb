"""The report proposes what to do next, and only what follows from the results."""

from __future__ import annotations

from dataclasses import replace

from made_report import job_of_classes, job_of_numbers

from multimodal_algo.report.advice import advice
from multimodal_algo.report.section import ReportedJob


def proposals(job: ReportedJob) -> str:
    section = advice(job)
    return "" if section is None else "\n".join(section.values["proposals"])


def with_scores(job: ReportedJob, **alone: float) -> ReportedJob:
    """The job with branches that reach a share of the fused log loss."""
    loss = job.metrics.fused["log_loss"]
    branches = {name: {**job.metrics.fused, "log_loss": loss * factor} for name, factor in alone.items()}
    return replace(job, metrics=replace(job.metrics, modalities=branches, without=branches))


def test_a_modality_that_is_as_good_alone_is_named() -> None:
    job = job_of_classes(["a", "b", "c"])
    assert "text alone is as good as all columns" in proposals(with_scores(job, text=1.0, num=3.0))
    assert "alone is as good" not in proposals(with_scores(job, text=3.0, num=3.0))


def test_a_modality_that_adds_nothing_is_named() -> None:
    assert "Without num the score stays" in proposals(with_scores(job_of_classes(["a", "b"]), text=3.0, num=1.0))


def test_unique_categories_and_small_classes_are_named() -> None:
    text = proposals(job_of_classes([f"class {number}" for number in range(60)]))
    assert "The category director_cat is mostly unique" in text
    assert "fewer than 10 rows: class " in text


def test_a_model_that_is_not_better_than_the_prior_is_named() -> None:
    job = job_of_numbers()
    useless = replace(job, metrics=replace(job.metrics, fused={**job.metrics.fused, "r2": -0.1}))
    assert "not better than the mean" in proposals(useless)
    assert "not better than the mean" not in proposals(job)
