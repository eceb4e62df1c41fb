"""The request that is rehearsed: our own on the sample dataset, or a user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multimodal_algo.aws.specification import Images, Validation, create_algorithm_request
from multimodal_algo.core.errors import UserError
from multimodal_algo.tools.sample import write_sample

_ROLE = "arn:aws:iam::000000000000:role/rehearsal"


def rehearsal_request(request: Path | None, train: Path | None, lines: Path | None, folder: Path) -> dict[str, Any]:
    """A request of ``CreateAlgorithm`` whose validation has its data on this machine.

    Parameters
    ----------
    request
        JSON of another request, bare or as a dry run prints it; ours else.
    train, lines
        Data for its validation; the sample's else, unless `request` brings its own.
    folder
        Where the sample is written.

    Raises
    ------
    UserError
        The file is no such request.
    """
    if request is not None:
        found = _read(request)
        if "ValidationSpecification" in found and train is None and lines is None:
            return found
    else:
        found = create_algorithm_request("multimodal", Images("multimodal-training", "multimodal-inference"))
    if train is None or lines is None:
        sample = write_sample(folder)
        train, lines = train or sample.train, lines or sample.test_noheader
    validation = Validation(_ROLE, train.resolve().as_uri(), lines.resolve().as_uri(), "s3://rehearsal/output")
    ours = create_algorithm_request("multimodal", Images("training", "inference"), validation)
    return {"ValidationSpecification": ours["ValidationSpecification"]} | found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}).") from None
    if isinstance(found, dict) and "request" in found:
        found = found["request"]
    if not isinstance(found, dict) or "TrainingSpecification" not in found:
        raise UserError(f"{path} is no request of CreateAlgorithm: it has no TrainingSpecification.")
    return found
