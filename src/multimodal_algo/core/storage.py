"""Where a job's data lies: a path, a ``file://`` URI, or ``s3://bucket/key``.

boto3 finds credentials, region and endpoint (``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``) as all of AWS's tools do.
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
    """Whether `location` is an ``s3://`` URI."""
    return isinstance(location, str) and location.startswith("s3://")


def local_path(location: Location) -> Path:
    """The path that a plain path or a ``file://`` URI names."""
    text = str(location)
    return Path(unquote(text.removeprefix("file://"))) if text.startswith("file://") else Path(location)


def local_data(location: Location, folder: Path) -> Path:
    """A file or folder on this machine: `location` itself, or `folder` with copies as `fetch` makes them."""
    if not is_s3(location):
        return local_path(location)
    fetch(location, folder)
    return folder


def local_file(location: Location, folder: Path) -> Path:
    """A file on this machine: `location` itself, or a copy of the one object that it names in `folder`.

    Raises
    ------
    UserError
        There is no such bucket or object, or no access to it.
    """
    if not is_s3(location):
        return local_path(location)
    with _client(location) as (s3, bucket, key):
        if not key or key.endswith("/"):
            raise UserError(f"{location} names no object; write it as s3://bucket/key.")
        return _copy(s3, bucket, key, folder / key.rpartition("/")[2])


def fetch(uri: str, folder: Path) -> list[Path]:
    """Copy the objects whose keys begin with that of an ``s3://`` URI, as jobs do (API: S3Prefix).

    Parameters
    ----------
    uri
        An object or a prefix. Folder markers, keys that end with a slash, are passed over.
    folder
        Where the copies go, below their keys from the prefix on; made when missing.

    Returns
    -------
    list of pathlib.Path
        The copies, in the order of the keys.

    Raises
    ------
    UserError
        There is no such bucket or object, or no access to it.
    """
    copies: dict[Path, str] = {}
    with _client(uri) as (s3, bucket, prefix):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for key in (found["Key"] for found in page.get("Contents", ()) if not found["Key"].endswith("/")):
                relative = _relative(key, prefix)
                copy = folder / relative
                if ".." in relative.split("/") or folder not in copy.parents or {copy, *copy.parents} & copies.keys():
                    raise UserError(f"s3://{bucket}/{key}: the key cannot be a file's path here; rename the object.")
                copies[copy] = key
        if not copies:
            raise UserError(f"{uri}: no object's key begins so; check bucket and prefix.")
        return [_copy(s3, bucket, key, copy) for copy, key in copies.items()]


@contextmanager
def output_folder(location: Location, folder: Path) -> Iterator[Path]:
    """A folder for results, made when missing; what lies in it at the end is at `location` then.

    A job that fails leaves what it has there too, as on the platform.

    Parameters
    ----------
    location
        A folder, or an ``s3://`` URI, whose bucket is looked for at once.
    folder
        Used where `location` is not on this machine.

    Raises
    ------
    UserError
        There is no such bucket, or no access to it.
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
    """Copy a file, or the files below a folder, to below an ``s3://`` URI, under their relative paths.

    Raises
    ------
    UserError
        There is no such bucket, or no access to it.
    """
    with _client(uri) as (s3, bucket, prefix):
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file():
                relative = path.relative_to(source if source.is_dir() else source.parent)
                s3.upload_file(str(path), bucket, start + relative.as_posix())


@contextmanager
def _client(location: str) -> Iterator[tuple[Any, str, str]]:
    """A client, bucket and key; what S3 refuses becomes a sentence."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{location} names no bucket; write it as s3://bucket/key.")
    try:
        yield boto3.session.Session().client("s3"), bucket, key
    except NoCredentialsError:
        raise UserError(
            f"{location}: there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("404", "NoSuchBucket", "NoSuchKey"):
            raise UserError(f"{location}: there is no such bucket or object; check its name and region.") from None
        if code in ("403", "AccessDenied"):
            raise UserError(f"{location}: access is denied; check the credentials and their policy.") from None
        raise UserError(f"{location}: S3 refuses it ({error}).") from None
    except (BotoCoreError, Boto3Error) as error:
        raise UserError(f"{location} cannot be reached ({error}); check AWS_ENDPOINT_URL and the network.") from None


def _relative(key: str, prefix: str) -> str:
    """A key from its prefix on where that is a folder, else from the prefix's own folder on."""
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    return key.removeprefix(folder if key.startswith(folder) else "".join(prefix.rpartition("/")[:2]))


def _copy(s3: Any, bucket: str, key: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    s3.download_file(bucket, key, str(path))
    return path
