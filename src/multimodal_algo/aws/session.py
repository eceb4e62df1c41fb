"""Calls of AWS by boto3: checked before they are sent, or only printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from multimodal_algo.aws.model import require_valid
from multimodal_algo.core.errors import UserError

_Print = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """Where calls go.

    Parameters
    ----------
    region
        Of the service; what the environment or the profile says else.
    dry_run
        Whether calls that change something are printed as JSON (``operation``, ``request``) and not sent.
    tell
        Where lines for the user go.
    """

    region: str | None = None
    dry_run: bool = False
    tell: _Print = print

    @cached_property
    def _boto3(self) -> Any:
        import boto3

        return boto3.session.Session(region_name=self.region)

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str) -> Any:
        """The boto3 client of a service, made at its first call.

        Raises
        ------
        UserError
            No region is known.
        """
        from botocore.exceptions import BotoCoreError

        try:
            if service not in self._clients:
                self._clients[service] = self._boto3.client(service)
        except BotoCoreError as error:
            raise UserError(f"{error} Give --region, or set AWS_DEFAULT_REGION.") from None
        return self._clients[service]

    def send(self, operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> dict[str, Any]:
        """Call an operation that changes something, once its request is valid; the answer is empty in a dry run.

        Raises
        ------
        UserError
            The request is not valid, or the service refuses it.
        """
        require_valid(operation, request, service=service)
        if self.dry_run:
            self.tell(json.dumps({"operation": f"{service}:{operation}", "request": request}, indent=2))
            return {}
        return self.ask(operation, request, service=service)

    def ask(self, operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> dict[str, Any]:
        """Call an operation, in a dry run too.

        Raises
        ------
        UserError
            The service refuses it, or cannot be reached.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        try:
            return getattr(self.client(service), method)(**request)
        except ClientError as error:
            raise Refused(
                error.response["Error"]["Code"], f"{operation}: {error.response['Error']['Message']}"
            ) from None
        except BotoCoreError as error:
            raise UserError(f"{operation}: {error}") from None


class Refused(UserError):
    """The service's own refusal; `code` is its name, such as ``ResourceNotFound``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
