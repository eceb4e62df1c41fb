"""The request of a rehearsal: our own with the sample dataset, or a user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_algo.aws.specification import Images, Validation, create_algorithm_request
from multimodal_algo.core.errors import UserError
from multimodal_algo.tools.sample import write_sample

_ROLE = "arn:aws:iam::000000000000:role/rehearsal"


def rehearsal_request(request: Path | None, train: Path | None, lines: Path | None, folder: Path) -> dict[str, Any]:
    """Return a request of ``CreateAlgorithm`` whose validation has its data on this machine.

    Parameters
    ----------
    request
        JSON file of a user's request, bare or as a dry run prints it. None for our own request.
    train
        Training data of the validation. None for the sample, unless the user's request has a validation.
    lines
        Header-less lines of the validation. None for the sample's, unless the user's request has a validation.
    folder
        Folder for the sample.

    Raises
    ------
    UserError
        The file does not hold such a request.
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
