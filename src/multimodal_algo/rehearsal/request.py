"""The request that a rehearsal checks: this algorithm's own request with a sample dataset, or a user's request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_algo.aws.specification import Images, Validation, create_algorithm_request
from multimodal_algo.core.errors import UserError
from multimodal_algo.tools.sample import write_sample

_ROLE = "arn:aws:iam::000000000000:role/rehearsal"


def rehearsal_request(request: Path | None, train: Path | None, lines: Path | None, folder: Path) -> dict[str, Any]:
    """Return a ``CreateAlgorithm`` request whose validation jobs use data on this machine.

    Parameters
    ----------
    request
        JSON file with a user's request, as it is or as ``--dry-run`` prints it. None for this algorithm's own request.
    train
        Training data for the validation. If None, the data of the user's request, or otherwise of the sample.
    lines
        Lines without a header for the validation. If None, those of the user's request, or otherwise of the sample.
    folder
        Folder for the sample dataset.

    Raises
    ------
    UserError
        The file does not hold a ``CreateAlgorithm`` request.
    """
    if request is None:
        base = create_algorithm_request("multimodal", Images("multimodal-training", "multimodal-inference"))
    else:
        base = _read(request)
        if "ValidationSpecification" in base and train is None and lines is None:
            return base
    if train is None or lines is None:
        sample = write_sample(folder)
        train, lines = train or sample.train, lines or sample.test_noheader
    validation = Validation(_ROLE, train.resolve().as_uri(), lines.resolve().as_uri(), "s3://rehearsal/output")
    ours = create_algorithm_request("multimodal", Images("training", "inference"), validation)
    return {"ValidationSpecification": ours["ValidationSpecification"]} | base


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}).") from None
    # A dry run prints an object with the operation and the request.
    request = content.get("request", content) if isinstance(content, dict) else None
    if not isinstance(request, dict) or "TrainingSpecification" not in request:
        raise UserError(f"{path} is not a request of CreateAlgorithm: it has no TrainingSpecification.")
    return request
