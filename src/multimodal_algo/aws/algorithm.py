"""Creates the algorithm resource on SageMaker, which may validate the algorithm with two jobs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from multimodal_algo.aws.session import Session
from multimodal_algo.aws.specification import Images, Validation, create_algorithm_request


def create(
    session: Session,
    name: str,
    images: Images,
    *,
    validate_in: str | None = None,
    role: str | None = None,
    **instances: str,
) -> str | None:
    """Create the algorithm. With `validate_in` and `role`, SageMaker then validates it on the sample dataset.

    Parameters
    ----------
    session
        Session with the AWS account.
    name
        Name of the algorithm.
    images
        Images in the ECR registry.
    validate_in
        S3 prefix for the sample data and the results of the validation.
    role
        ARN of the role that the validation's jobs run as.
    instances
        Instance types of the validation's jobs, ``training_instance`` and ``transform_instance``. See `Validation`.

    Returns
    -------
    str or None
        ARN of the algorithm. None in a dry run.
    """
    validation = None
    if validate_in is not None and role is not None:
        prefix = validate_in.rstrip("/")
        validation = Validation(role, f"{prefix}/train/", f"{prefix}/lines/", f"{prefix}/output", **instances)
    request = create_algorithm_request(name, images, validation)
    if validation is not None and not session.dry_run:
        _put_sample(validation)
    return session.send("CreateAlgorithm", request).get("AlgorithmArn")


def _put_sample(validation: Validation) -> None:
    from multimodal_algo.core.storage import upload
    from multimodal_algo.tools.sample import write_sample

    with tempfile.TemporaryDirectory() as scratch:
        files = write_sample(Path(scratch))
        upload(files.train, validation.train)
        upload(files.test_noheader, validation.lines)
