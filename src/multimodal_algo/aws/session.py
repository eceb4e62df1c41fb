"""Calls AWS services with boto3. Requests are checked before they are sent. A dry run only prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from multimodal_algo.aws.model import require_valid
from multimodal_algo.aws.names import region_name
from multimodal_algo.core.errors import UserError

_Print = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """Access to the services of an AWS account.

    Parameters
    ----------
    region
        AWS region. None for the region of the environment or of the profile.
    dry_run
        Whether requests that change something are printed as JSON (``operation``, ``request``) instead of sent.
    report
        Function that shows a line to the user.
    """

    region: str | None = None
    dry_run: bool = False
    report: _Print = print

    @cached_property
    def _boto3(self) -> Any:
        import boto3

        return boto3.session.Session(region_name=self.region)

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service.

        Raises
        ------
        UserError
            Neither the session nor the environment nor the profile names a region, or the name is misspelled.
        """
        from botocore.exceptions import BotoCoreError

        if self.region is not None:
            region_name(self.region)
        try:
            if service not in self._clients:
                self._clients[service] = self._boto3.client(service)
        except BotoCoreError as error:
            raise UserError(f"{error} Give --region, or set AWS_DEFAULT_REGION.") from None
        return self._clients[service]

    def send(self, operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> dict[str, Any]:
        """Check and send the request of an operation that changes something.

        A dry run prints it and returns an empty answer.

        Raises
        ------
        UserError
            The request is not valid, the service refuses it, or the service cannot be reached.
        """
        require_valid(operation, request, service=service)
        if self.dry_run:
            self.report(
                json.dumps({"operation": f"{service}:{operation}", "request": request}, indent=2, default=_size)
            )
            return {}
        return self.call(operation, request, service=service)

    def call(self, operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> dict[str, Any]:
        """Send a request and return the answer, also in a dry run. Requests that change something need `send` instead.

        Raises
        ------
        Refused
            The service refuses the request.
        UserError
            The service cannot be reached.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        try:
            return getattr(self.client(service), method)(**request)
        except ClientError as error:
            raise Refused(error.response["Error"]["Code"], f"{operation}: {_message(error)}") from None
        except BotoCoreError as error:
            raise UserError(f"{operation}: {error}") from None


def _size(body: Any) -> str:
    """Return the size of the body of a request, as a dry run shows it."""
    return f"{len(body)} bytes"


def _message(error: Any) -> str:
    """Return the message of a botocore error. A web page, which servers other than AWS may send, is left out."""
    message = str(error.response["Error"].get("Message", ""))
    if not message.lstrip().startswith("<"):
        return message
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return f"the server answered with a web page and status {status}. It may lack this call."


class Refused(UserError):
    """Raised when an AWS service refuses a request.

    Parameters
    ----------
    code
        Name that the service gives the error, for example ``ResourceNotFound``.
    message
        Message of the service.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
