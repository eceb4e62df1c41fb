"""The settings of a batch transform job, each declared once.

The options of ``local transform`` and ``aws transform``, the request of ``CreateTransformJob`` and the environment of
the server are made from the fields of `TransformSettings`. A new setting is one field there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from multimodal_algo.core.errors import UserError

# Environment variables that the platform sets for the server. Source: developer guide, *your-algorithms-batch-code*.
BATCH_VARIABLE = "SAGEMAKER_BATCH"
STRATEGY_VARIABLE = "SAGEMAKER_BATCH_STRATEGY"
PAYLOAD_VARIABLE = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
CONCURRENT_VARIABLE = "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"

MAX_PAYLOAD_MB = 100
"""Largest ``MaxPayloadInMB``, and largest product of it and ``MaxConcurrentTransforms``. Source: API."""
DEFAULT_PAYLOAD_MB = 6
"""``MaxPayloadInMB`` of a job where neither the request nor the server names one. Source: API."""
# API, TransformEnvironmentMap.
_MAX_VARIABLES = 16


class SplitType(StrEnum):
    """How SageMaker cuts an input file into records: at every newline, also inside quotes, or not at all."""

    LINE = "Line"
    NONE = "None"


class AssembleWith(StrEnum):
    """How SageMaker joins answers into one output file: with a newline after each, or without."""

    LINE = "Line"
    NONE = "None"


class BatchStrategy(StrEnum):
    """How many records SageMaker puts into one request: as many as fit, or one."""

    MULTI_RECORD = "MultiRecord"
    SINGLE_RECORD = "SingleRecord"

    @classmethod
    def of_server(cls, text: str) -> BatchStrategy:
        """Parse the spelling of the server's environment and ``/execution-parameters``: ``SINGLE_RECORD``."""
        return cls.SINGLE_RECORD if "single" in text.lower() else cls.MULTI_RECORD

    @property
    def for_server(self) -> str:
        """The spelling of the server's environment and ``/execution-parameters``: ``SINGLE_RECORD``."""
        return "SINGLE_RECORD" if self is BatchStrategy.SINGLE_RECORD else "MULTI_RECORD"


class CompressionType(StrEnum):
    """The compression of the input files. SageMaker decompresses a file before it cuts it into records."""

    NONE = "None"
    GZIP = "Gzip"


class JoinSource(StrEnum):
    """Whether SageMaker writes the input record in front of each answer."""

    NONE = "None"
    INPUT = "Input"


class Declaration(NamedTuple):
    """The declaration of one setting of a batch transform job: its names, type, limits and meaning.

    Attributes
    ----------
    name
        Name of the field of `TransformSettings`. The command-line option is made from it.
    kind
        Type of the value: a `StrEnum`, int, str, or dict for environment variables.
    default
        Value of the setting in a job that does not set it. None: the server chooses.
    key
        Path of the setting in the request of ``CreateTransformJob``, with dots.
    meaning
        Description for users, for ``--help``.
    least, most
        Limits of a number, both included. None if there is no limit.
    platform_default
        SageMaker's value for a request without the key, if it differs from `default`.
    variable
        Environment variable of the server that carries the value.
    """

    name: str
    kind: type
    default: Any
    key: str
    meaning: str
    least: int | None = None
    most: int | None = None
    platform_default: Any = None
    variable: str | None = None

    @property
    def platform_name(self) -> str:
        """The name of the setting in SageMaker's documentation, for example ``MaxPayloadInMB``."""
        return self.key.rpartition(".")[2]

    @property
    def choices(self) -> list[str]:
        """The allowed values of the setting, if its type is an enumeration. Otherwise empty."""
        return [member.value for member in self.kind] if issubclass(self.kind, StrEnum) else []

    def check(self, value: Any) -> None:
        """Raise an error if a value of this setting is out of its limits.

        Raises
        ------
        UserError
            The value is below `least` or above `most`.
        """
        if self.least is None or value is None:
            return
        if not isinstance(value, int) or value < self.least or (self.most is not None and value > self.most):
            limits = f"at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
            raise UserError(f"{self.platform_name} is {value}: it must be {limits}.")


def _declared(key: str, meaning: str, **more: Any) -> dict[str, Any]:
    """Return the metadata of a field of `TransformSettings`. `more` has the optional attributes of `Declaration`."""
    return {"key": key, "meaning": meaning, **more}


@dataclass(frozen=True)
class TransformSettings:
    """The settings of a batch transform job. For a setting that is None, the server chooses.

    The declaration of each field has its meaning, which ``--help`` shows. One MB is 1,048,576 bytes.
    """

    content_type: str = field(
        default="text/csv",
        metadata=_declared(
            "TransformInput.ContentType", "Content type of requests, for example text/csv or application/jsonlines."
        ),
    )
    accept: str = field(
        default="text/csv",
        metadata=_declared(
            "TransformOutput.Accept", "Content type of answers, for example text/csv or application/jsonlines."
        ),
    )
    split_type: SplitType = field(
        default=SplitType.LINE,
        metadata=_declared(
            "TransformInput.SplitType",
            "Line cuts files into records at every newline. None sends each file as one record.",
            platform_default=SplitType.NONE,
        ),
    )
    assemble_with: AssembleWith = field(
        default=AssembleWith.LINE,
        metadata=_declared(
            "TransformOutput.AssembleWith",
            "Line ends each answer with a newline. None joins answers as they are.",
            platform_default=AssembleWith.NONE,
        ),
    )
    compression_type: CompressionType = field(
        default=CompressionType.NONE,
        metadata=_declared("TransformInput.CompressionType", "Compression of the input files."),
    )
    strategy: BatchStrategy | None = field(
        default=None,
        metadata=_declared(
            "BatchStrategy",
            "Records of a request: as many as fit, or one. The default is the server's value, or MultiRecord.",
            variable=STRATEGY_VARIABLE,
        ),
    )
    max_payload_mb: int | None = field(
        default=None,
        metadata=_declared(
            "MaxPayloadInMB",
            "Largest request in MB, 1 to 100. 0 sends each file as one stream of any size. "
            f"The default is the server's value, or {DEFAULT_PAYLOAD_MB} if it has none.",
            least=0,
            most=MAX_PAYLOAD_MB,
            variable=PAYLOAD_VARIABLE,
        ),
    )
    max_concurrent_transforms: int | None = field(
        default=None,
        metadata=_declared(
            "MaxConcurrentTransforms",
            "Largest number of requests at a time. The default, and 0, mean the server's value, or 1 if it has none.",
            least=0,
            variable=CONCURRENT_VARIABLE,
        ),
    )
    input_filter: str = field(
        default="$",
        metadata=_declared("DataProcessing.InputFilter", "JSONPath of the part of a record that the server gets."),
    )
    join_source: JoinSource = field(
        default=JoinSource.NONE,
        metadata=_declared(
            "DataProcessing.JoinSource",
            "Input writes each record, as it was before the input filter, in front of its answer.",
        ),
    )
    output_filter: str = field(
        default="$",
        metadata=_declared(
            "DataProcessing.OutputFilter", "JSONPath of the part of an answer, after the join, that is written."
        ),
    )
    invocations_timeout_s: int = field(
        default=600,
        metadata=_declared(
            "ModelClientConfig.InvocationsTimeoutInSeconds",
            "Seconds that a request may take, 1 to 3600.",
            least=1,
            most=3600,
        ),
    )
    invocations_max_retries: int = field(
        default=3,
        metadata=_declared(
            "ModelClientConfig.InvocationsMaxRetries",
            "Retries of a request after a time-out, a lost connection or a 5xx answer, 0 to 3.",
            least=0,
            most=3,
        ),
    )
    env: Mapping[str, str] = field(
        default_factory=dict, metadata=_declared("Environment", "Environment variable of the server, repeatable.")
    )

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> TransformSettings:
        """Make the settings from command-line options. The options have the names of the fields."""
        return cls(**{name: _typed(_declaration(name), value) for name, value in options.items()})

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> TransformSettings:
        """Read the settings from a ``CreateTransformJob`` request. Those that are missing have SageMaker's defaults."""
        values = {}
        for declared in declarations():
            value = _value_at(request, declared.key)
            value = declared.platform_default if value is None else value
            if value is not None:
                values[declared.name] = _typed(declared, value)
        return cls(**values)

    def request(self) -> dict[str, Any]:
        """Return these settings as part of a ``CreateTransformJob`` request."""
        request: dict[str, Any] = {}
        for declared in declarations():
            value = getattr(self, declared.name)
            if value is None or value == {}:
                continue
            *parents, key = declared.key.split(".")
            target = request
            for parent in parents:
                target = target.setdefault(parent, {})
            target[key] = _plain(value)
        return request

    def environment(self) -> dict[str, str]:
        """Return the environment variables that pass these settings from SageMaker to the server.

        Limits are among them only if the job sets limits.
        """
        variables = {BATCH_VARIABLE: "true"}
        for declared in declarations():
            value = getattr(self, declared.name)
            if declared.variable is not None and value is not None:
                variables[declared.variable] = value.for_server if isinstance(value, BatchStrategy) else str(value)
        return variables | dict(self.env)

    def check(self) -> None:
        """Raise an error if a setting is out of SageMaker's limits. Limits that depend on the server are not checked.

        Raises
        ------
        UserError
            A setting is out of its limits.
        """
        for declared in declarations():
            declared.check(getattr(self, declared.name))
        if len(self.env) > _MAX_VARIABLES:
            raise UserError(f"Environment has {len(self.env)} variables: a job takes at most {_MAX_VARIABLES}.")


@cache
def declarations() -> tuple[Declaration, ...]:
    """Return the declarations of all settings of a batch transform job, in the order of the fields."""
    hints = get_type_hints(TransformSettings)
    return tuple(
        Declaration(entry.name, _kind(hints[entry.name]), _default(entry), **entry.metadata)
        for entry in fields(TransformSettings)
    )


def _declaration(name: str) -> Declaration:
    return next(declared for declared in declarations() if declared.name == name)


def _kind(hint: Any) -> type:
    """Return the type of a setting's value, from the type annotation of its field."""
    if get_origin(hint) is Mapping:
        return dict
    return next((kind for kind in get_args(hint) if kind is not type(None)), hint)


def _default(entry: Field[Any]) -> Any:
    return entry.default if entry.default is not MISSING else {}


def _typed(declared: Declaration, value: Any) -> Any:
    convert: Callable[[Any], Any] = declared.kind
    return None if value is None else convert(value)


def _plain(value: Any) -> Any:
    """Return the value of a setting as JSON has it."""
    if isinstance(value, StrEnum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value


def _value_at(request: Mapping[str, Any], key: str) -> Any:
    value: Any = request
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
