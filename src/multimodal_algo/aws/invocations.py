"""Sends requests to an endpoint in service, and waits for asynchronous answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from multimodal_algo.aws.session import Refused, Session
from multimodal_algo.core.errors import UserError

RUNTIME = "sagemaker-runtime"
"""The boto3 service of requests to endpoints."""
_POLL_S = 5.0
_NOT_THERE = ("404", "NoSuchKey")


@dataclass(frozen=True)
class Invocation:
    """A request to an endpoint.

    Parameters
    ----------
    endpoint
        Name of the endpoint.
    content_type
        Content type of the records.
    accept
        Content type of the answer.
    """

    endpoint: str
    content_type: str = "text/csv"
    accept: str = "text/csv"

    def _request(self) -> dict[str, Any]:
        return {"EndpointName": self.endpoint, "ContentType": self.content_type, "Accept": self.accept}

    def send(self, session: Session, records: bytes) -> bytes:
        """Send records, and return the answer. A dry run shows the number of bytes, and returns an empty answer.

        Raises
        ------
        UserError
            The records are too large for a request, or the endpoint refuses them.
        """
        answer = session.send("InvokeEndpoint", {**self._request(), "Body": records}, service=RUNTIME)
        return answer["Body"].read() if answer else b""

    def send_async(self, session: Session, records: str) -> tuple[str, str]:
        """Ask an asynchronous endpoint to read records in S3, and return where its answer will be.

        Parameters
        ----------
        session
            Session with the account.
        records
            S3 URI of the object with the records.

        Returns
        -------
        tuple
            S3 URI of the answer, and S3 URI of the reason for a failure. One of these two objects will appear. Both are
            empty in a dry run.
        """
        answer = session.send("InvokeEndpointAsync", {**self._request(), "InputLocation": records}, service=RUNTIME)
        return answer.get("OutputLocation", ""), answer.get("FailureLocation", "")


def wait_for_answer(
    session: Session, locations: tuple[str, str], *, timeout_s: float = 3600, poll_s: float = _POLL_S
) -> bytes:
    """Wait for the answer of an asynchronous endpoint, and return it.

    Parameters
    ----------
    session
        Session with the account.
    locations
        S3 URI of the answer, and S3 URI of the reason for a failure, see `Invocation.send_async`.
    timeout_s
        Seconds after which the wait ends.
    poll_s
        Seconds between two checks.

    Raises
    ------
    UserError
        The endpoint failed, or no answer came in time.
    """
    answer, failure = locations
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if (content := _object(session, answer)) is not None:
            return content
        if failure and (reason := _object(session, failure)) is not None:
            raise UserError(f"The endpoint failed: {reason.decode(errors='replace').strip()}")
        time.sleep(poll_s)
    raise UserError(f"There is no answer after {timeout_s:g} s. It will be in {answer}, or its failure in {failure}.")


def _object(session: Session, uri: str) -> bytes | None:
    """Return the content of an object in S3. Return None if it does not exist."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return session.call("GetObject", {"Bucket": bucket, "Key": key}, service="s3")["Body"].read()
    except Refused as refusal:
        if refusal.code in _NOT_THERE:
            return None
        raise
