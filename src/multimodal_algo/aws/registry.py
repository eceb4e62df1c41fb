"""Pushes the images to ECR, the registry from which SageMaker pulls them."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Sequence

from multimodal_algo.aws.names import account_id
from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.aws.specification import Images
from multimodal_algo.core.errors import UserError

REPOSITORIES = ("multimodal-training", "multimodal-inference")
_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.[^/]+/(?P<repository>[^:@]+):(?P<tag>[^:@/]+)")


def image_names(session: Session, tag: str, account: str | None) -> Images:
    """Return the names that the images have in an ECR registry.

    Parameters
    ----------
    session
        Session with the AWS account.
    tag
        Tag of the images.
    account
        Account that owns the registry, 12 digits. None for the account of the caller.

    Raises
    ------
    UserError
        The region or the credentials are missing, or the account is not a number of 12 digits.
    """
    account = account_id(account or str(session.call("GetCallerIdentity", {}, service="sts")["Account"]))
    region = session.client("ecr").meta.region_name
    host = f"{account}.dkr.ecr.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    training, inference = (f"{host}/{repository}:{tag}" for repository in REPOSITORIES)
    return Images(training, inference)


def pinned(session: Session, images: Images) -> Images:
    """Return the names of the images with digests in place of tags, because a tag may move. A dry run keeps the tags.

    Raises
    ------
    UserError
        An image is not in the registry.
    """
    if session.dry_run:
        return images
    return Images(_by_digest(session, images.training), _by_digest(session, images.inference))


def _by_digest(session: Session, image: str) -> str:
    named = _IMAGE.fullmatch(image)
    if named is None:  # it has a digest, or is in another kind of registry
        return image
    request = {
        "registryId": named["account"],
        "repositoryName": named["repository"],
        "imageIds": [{"imageTag": named["tag"]}],
    }
    details = session.call("DescribeImages", request, service="ecr")["imageDetails"]
    return f"{image.rpartition(':')[0]}@{details[0]['imageDigest']}"


def push(session: Session, tag: str, account: str | None, *, local_tag: str = "latest") -> Images:
    """Push the images from this machine to ECR. Repositories that are missing are created.

    Parameters
    ----------
    session
        Session with the AWS account.
    tag
        Tag of the images in the registry.
    account
        Account that owns the registry, 12 digits. None for the account of the caller.
    local_tag
        Tag of the images on this machine.

    Raises
    ------
    UserError
        The registry refuses the images, or docker fails.
    """
    names = image_names(session, tag, account)
    images = list(zip(REPOSITORIES, (names.training, names.inference), strict=True))
    for repository, name in images:
        _make_repository(session, repository)
        _docker(session, "tag", f"{repository}:{local_tag}", name)
    _log_in(session, names.training.split("/")[0])
    for _, name in images:
        _docker(session, "push", name)
    return names


def _make_repository(session: Session, name: str) -> None:
    request = {"repositoryName": name, "imageScanningConfiguration": {"scanOnPush": True}}
    try:
        session.send("CreateRepository", request, service="ecr")
    except Refused as refusal:
        if refusal.code != "RepositoryAlreadyExistsException":
            raise


def _log_in(session: Session, registry: str) -> None:
    if session.dry_run:
        session.report(f"docker login --username AWS --password-stdin {registry}")
        return
    answer = session.call("GetAuthorizationToken", {}, service="ecr")
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    _run(["docker", "login", "--username", user, "--password-stdin", registry], password.encode())


def _docker(session: Session, *arguments: str) -> None:
    if session.dry_run:
        session.report(f"docker {' '.join(arguments)}")
    else:
        _run(["docker", *arguments], None)


def _run(command: Sequence[str], stdin: bytes | None) -> None:
    try:
        done = subprocess.run(command, input=stdin, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise UserError("There is no docker here: install an engine (Debian: apt-get install docker.io).") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise UserError(f"{' '.join(command[:2])} failed: {reason}")
