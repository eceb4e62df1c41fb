"""Reads and writes the data of a job at a location: a path, a ``file://`` URI, or ``s3://bucket/key``.

boto3 takes credentials, region and endpoint from where all AWS tools take them. ``AWS_ENDPOINT_URL`` and
``AWS_ENDPOINT_URL_S3`` name another endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import unquote

from multimodal_algo.core.errors import UserError

Location = str | Path


def is_s3(location: Location) -> TypeGuard[str]:
    """Return whether `location` is an ``s3://`` URI."""
    return isinstance(location, str) and location.startswith("s3://")


def local_path(location: Location) -> Path:
    """Return the path that a plain path or a ``file://`` URI names."""
    text = str(location)
    return Path(unquote(text.removeprefix("file://"))) if text.startswith("file://") else Path(location)


def local_data(location: Location, folder: Path) -> Path:
    """Return a file or folder on this machine: `location` itself, or `folder` with the objects downloaded from S3."""
    if not is_s3(location):
        return local_path(location)
    fetch(location, folder)
    return folder


def local_file(location: Location, folder: Path) -> Path:
    """Return a file on this machine: `location` itself, or its download from S3 in `folder`.

    Raises
    ------
    UserError
        The bucket or the object does not exist, or access is denied.
    """
    if not is_s3(location):
        return local_path(location)
    with _client(location) as (s3, bucket, key):
        if not key or key.endswith("/"):
            raise UserError(f"{location} does not name an object. Write it as s3://bucket/key.")
        return _copy(s3, bucket, key, folder / key.rpartition("/")[2])


def fetch(uri: str, folder: Path) -> list[Path]:
    """Download all objects whose keys begin with the key of an ``s3://`` URI, as a job does with ``S3Prefix``.

    Parameters
    ----------
    uri
        URI of an object or a prefix. Keys that end with a slash mark folders and are ignored.
    folder
        Folder for the downloads, made when missing. The path of a download is the part of its key after the prefix.

    Returns
    -------
    list of pathlib.Path
        Paths of the downloads, in the order of the keys.

    Raises
    ------
    UserError
        The bucket or the object does not exist, or access is denied.
    """
    copies: dict[Path, str] = {}
    with _client(uri) as (s3, bucket, prefix):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for key in (entry["Key"] for entry in page.get("Contents", ()) if not entry["Key"].endswith("/")):
                relative = _relative(key, prefix)
                copy = folder / relative
                if ".." in relative.split("/") or folder not in copy.parents or {copy, *copy.parents} & copies.keys():
                    raise UserError(f"s3://{bucket}/{key}: the key cannot be a file's path here. Rename the object.")
                copies[copy] = key
        if not copies:
            raise UserError(f"{uri}: no key begins with this prefix. Check bucket and prefix.")
        return [_copy(s3, bucket, key, copy) for copy, key in copies.items()]


@contextmanager
def output_folder(location: Location, folder: Path) -> Iterator[Path]:
    """Give a folder to write results into, made when missing.

    When the ``with`` block ends, the results are at `location`.

    They are there also when the block fails, as on SageMaker.

    Parameters
    ----------
    location
        Where the results go: a folder, or an ``s3://`` URI. A bucket is looked up before the block begins.
    folder
        Folder on this machine to write into if `location` is in S3.

    Raises
    ------
    UserError
        The bucket does not exist, or access is denied.
    """
    if not is_s3(location):
        folder = local_path(location)
    else:
        with _client(location) as (s3, bucket, _):
            s3.head_bucket(Bucket=bucket)
    folder.mkdir(parents=True, exist_ok=True)
    failure: UserError | None = None
    try:
        yield folder
    except UserError as error:
        failure = error
    if is_s3(location):
        upload(folder, location)
    if failure is not None:
        raise failure


def upload(source: Path, uri: str) -> None:
    """Upload a file, or all files below a folder, to an ``s3://`` URI. Each file's relative path ends its key.

    Raises
    ------
    UserError
        The bucket does not exist, or access is denied.
    """
    with _client(uri) as (s3, bucket, prefix):
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file():
                relative = path.relative_to(source if source.is_dir() else source.parent)
                s3.upload_file(str(path), bucket, start + relative.as_posix())


@contextmanager
def _client(location: str) -> Iterator[tuple[Any, str, str]]:
    """Give an S3 client, and the bucket and key of `location`. Errors of S3 become messages for users."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{location} does not name a bucket. Write it as s3://bucket/key.")
    try:
        yield boto3.session.Session().client("s3"), bucket, key
    except NoCredentialsError:
        raise UserError(
            f"{location}: there are no credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("404", "NoSuchBucket", "NoSuchKey"):
            raise UserError(f"{location}: the bucket or object does not exist. Check its name and region.") from None
        if code in ("403", "AccessDenied"):
            raise UserError(f"{location}: access is denied. Check the credentials and their policy.") from None
        raise UserError(f"{location}: S3 refuses the request ({error}).") from None
    except (BotoCoreError, Boto3Error) as error:
        raise UserError(f"{location} cannot be reached ({error}). Check AWS_ENDPOINT_URL and the network.") from None


def _relative(key: str, prefix: str) -> str:
    """Return the part of an object's key after the prefix.

    If the prefix ends within a file's name, return the whole name.
    """
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    return key.removeprefix(folder if key.startswith(folder) else "".join(prefix.rpartition("/")[:2]))


def _copy(s3: Any, bucket: str, key: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    s3.download_file(bucket, key, str(path))
    return path
