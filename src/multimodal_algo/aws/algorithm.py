"""Creates the algorithm resource on SageMaker, which may validate the algorithm with two jobs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from multimodal_algo.aws.protection import UNPROTECTED, Protection
from multimodal_algo.aws.registry import pinned
from multimodal_algo.aws.session import Session
from multimodal_algo.aws.specification import Images, Validation, create_algorithm_request


def create(
    session: Session,
    name: str,
    images: Images,
    validation: Validation | None = None,
    *,
    marketplace: bool = False,
    protection: Protection = UNPROTECTED,
) -> str | None:
    """Create the algorithm. With `validation`, upload the sample dataset, with which SageMaker validates the algorithm.

    Parameters
    ----------
    session
        Session with the AWS account.
    name
        Name of the algorithm.
    images
        Images in the registry. The algorithm names them by digest.
    validation
        Jobs of the validation. None to create the algorithm without validation.
    marketplace
        Whether the platform certifies the algorithm for AWS Marketplace.
    protection
        Tags of the algorithm. The network and the keys in it are ignored.

    Returns
    -------
    str or None
        ARN of the algorithm. None in a dry run.
    """
    request = create_algorithm_request(name, pinned(session, images), validation, marketplace=marketplace)
    request |= protection.labels
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
