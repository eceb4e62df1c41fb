"""The reports of a model package: results of the training job, in the form that SageMaker's pages show."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_algo.aws.session import Session
from multimodal_algo.core.errors import UserError

# Keys in ModelMetrics, and the names of the report files next to the artifact.
_QUALITY = ("ModelQuality.Statistics", "model_quality.json")
_EXPLAINABILITY = ("Explainability.Report", "explainability.json")
_GROUPS = {"regression": "regression_metrics", "binary": "binary_classification_metrics"}


def write_reports(session: Session, artifact: str) -> dict[str, str]:
    """Write the reports of a training job next to its artifact, and return their S3 URIs by key in ``ModelMetrics``.

    The reports are made from ``metrics.json`` in the job's ``output.tar.gz``. A dry run writes nothing.

    Parameters
    ----------
    session
        Session with the account.
    artifact
        S3 URI of the job's ``model.tar.gz``.

    Returns
    -------
    dict
        The S3 URIs. Empty if the job's ``output.tar.gz`` is not next to the artifact.
    """
    from multimodal_algo.core.storage import local_file, upload

    folder = artifact.rpartition("/")[0]
    uris = {place: f"{folder}/{name}" for place, name in (_QUALITY, _EXPLAINABILITY)}
    if session.dry_run:
        return uris
    with tempfile.TemporaryDirectory() as scratch:
        try:
            metrics = _metrics_of(local_file(f"{folder}/output.tar.gz", Path(scratch)))
        except UserError as error:
            session.report(f"the model package has no metrics: {error}")
            return {}
        written = Path(scratch, "reports")
        written.mkdir()
        contents = ((_QUALITY, quality_report(metrics)), (_EXPLAINABILITY, explainability_report(metrics)))
        for (_, name), content in contents:
            (written / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
        upload(written, folder)
    return uris


def quality_report(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of ``metrics.json`` as a report of model quality.

    Source: developer guide, *model-monitor-model-quality-metrics*. Standard deviations were not measured.
    """
    group = _GROUPS.get(metrics["problem_type"], "multiclass_classification_metrics")
    scores = {name: {"value": value, "standard_deviation": "NaN"} for name, value in metrics["fused"].items()}
    return {group: scores, "dataset": {"item_count": metrics["rows"], "measured_on": metrics["measured_on"]}}


def explainability_report(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return how much the job's metric changes if the columns of a modality are empty, for each modality."""
    name = metrics["eval_metric"]
    whole = metrics["fused"].get(name)
    without = {modality: scores.get(name) for modality, scores in metrics["without"].items()}
    return {
        "method": "score without a modality, minus the score with all columns",
        "metric": name,
        "score": whole,
        "modalities": {
            modality: score - whole for modality, score in without.items() if score is not None and whole is not None
        },
    }


def _metrics_of(archive: Path) -> dict[str, Any]:
    try:
        with tarfile.open(archive) as tar:
            member = next((each for each in tar if Path(each.name).name == "metrics.json"), None)
            content = tar.extractfile(member) if member is not None else None
            if content is None:
                raise UserError("output.tar.gz has no metrics.json")
            return json.load(content)
    except (tarfile.TarError, ValueError) as error:
        raise UserError(f"output.tar.gz cannot be read ({error})") from None
