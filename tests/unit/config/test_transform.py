from __future__ import annotations

import re

import pytest
from click import Choice
from click.testing import CliRunner

from multimodal_algo.cli.local import local_transform
from multimodal_algo.config.transform import (
    AssembleWith,
    BatchStrategy,
    CompressionType,
    JoinSource,
    SplitType,
    TransformSettings,
    declarations,
)
from multimodal_algo.core.errors import UserError
from multimodal_algo.sagemaker.settings import Settings

# No setting has its default.
SETTINGS = TransformSettings(
    content_type="application/jsonlines",
    accept="application/jsonlines",
    split_type=SplitType.NONE,
    assemble_with=AssembleWith.NONE,
    compression_type=CompressionType.GZIP,
    strategy=BatchStrategy.SINGLE_RECORD,
    max_payload_mb=3,
    max_concurrent_transforms=2,
    input_filter="$[1:]",
    join_source=JoinSource.INPUT,
    output_filter="$[0,-1]",
    invocations_timeout_s=60,
    invocations_max_retries=1,
    env={"BAD_ROWS": "error"},
)


def test_a_request_has_every_setting_and_is_read_back() -> None:
    assert all(getattr(SETTINGS, entry.name) != entry.default for entry in declarations())
    assert TransformSettings.of_request(SETTINGS.request()) == SETTINGS
    assert SETTINGS.request()["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 1}


def test_a_setting_that_the_job_leaves_open_is_not_in_the_request() -> None:
    request = TransformSettings().request()
    assert not {"BatchStrategy", "MaxPayloadInMB", "MaxConcurrentTransforms", "Environment"} & request.keys()
    assert request["TransformInput"] == {"ContentType": "text/csv", "SplitType": "Line", "CompressionType": "None"}


def test_a_request_without_a_key_has_the_default_of_the_platform() -> None:
    settings = TransformSettings.of_request({})
    assert (settings.split_type, settings.assemble_with) == (SplitType.NONE, AssembleWith.NONE)


def test_the_environment_of_the_server_is_what_the_server_reads() -> None:
    read = Settings.from_environment(SETTINGS.environment())
    assert (read.is_batch, read.single_record, read.max_payload_mb, read.max_concurrent) == (True, True, 3, 2)
    assert read.inference == {"BAD_ROWS": "error"}
    assert TransformSettings().environment() == {"SAGEMAKER_BATCH": "true"}


def test_the_command_has_an_option_for_every_setting_with_its_values_and_default() -> None:
    options = {parameter.name: parameter for parameter in local_transform.params}
    for entry in declarations():
        option = options[entry.name]
        assert entry.meaning in re.sub(r"\s+", " ", str(option.help))
        if isinstance(option.type, Choice):
            assert [*option.type.choices] == entry.choices
    values = {entry.name: str(entry.default) for entry in declarations() if entry.default not in (None, {})}
    assert TransformSettings.of_options(values | {"env": {}}) == TransformSettings()
    assert CliRunner().invoke(local_transform, ["--split-type", "RecordIO"]).exit_code == 2


def test_a_number_out_of_the_limits_of_the_platform_is_refused() -> None:
    SETTINGS.check()
    with pytest.raises(UserError, match="MaxPayloadInMB is 101: it must be from 0 to 100"):
        TransformSettings(max_payload_mb=101).check()
