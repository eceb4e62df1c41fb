"""The hosts of a job, as `resourceconfig.json` lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.config.channels import TRAIN
from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution.hosts import Hosts, InstanceGroup
from multimodal_algo.sagemaker.config import is_sharded, read_hosts
from multimodal_algo.sagemaker.paths import MLPaths


def write(base: Path, name: str, content: Any) -> MLPaths:
    path = base / f"input/config/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return MLPaths(base)


def test_no_file_is_one_host(tmp_path: Path) -> None:
    hosts = read_hosts(MLPaths(tmp_path))
    assert hosts.leads
    assert hosts.others == ()


def test_hosts_of_the_sdks_local_mode(tmp_path: Path) -> None:
    content = {
        "current_host": "algo-2-x8k1p",
        "hosts": ["algo-2-x8k1p", "algo-1-89ro1"],
        "network_interface_name": "eth0",
    }
    hosts = read_hosts(write(tmp_path, "resourceconfig", content))
    assert hosts == Hosts("algo-2-x8k1p", ("algo-1-89ro1", "algo-2-x8k1p"), "eth0")
    assert not hosts.leads
    assert hosts.first == "algo-1-89ro1"


def test_a_heterogeneous_cluster(tmp_path: Path) -> None:
    content = {
        "current_host": "algo-1",
        "current_group_name": "gpus",
        "current_instance_type": "ml.g5.xlarge",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "instance_groups": [
            {"instance_group_name": "gpus", "instance_type": "ml.g5.xlarge", "hosts": ["algo-1"]},
            {"instance_group_name": "cpus", "instance_type": "ml.c5.4xlarge", "hosts": ["algo-2", "algo-3"]},
        ],
    }
    hosts = read_hosts(write(tmp_path, "resourceconfig", content))
    assert hosts.leads
    assert hosts.others == ("algo-2", "algo-3")
    assert hosts.groups[1] == InstanceGroup("cpus", "ml.c5.4xlarge", ("algo-2", "algo-3"))
    assert hosts.summary() == "algo-1 (gpus, ml.g5.xlarge), algo-2 (cpus, ml.c5.4xlarge), algo-3 (cpus, ml.c5.4xlarge)"


def test_a_host_that_is_not_in_the_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="current_host algo-9 is not one of the hosts"):
        read_hosts(write(tmp_path, "resourceconfig", {"current_host": "algo-9", "hosts": ["algo-1"]}))


@pytest.mark.parametrize(("type_", "expected"), [("ShardedByS3Key", True), ("FullyReplicated", False), (None, False)])
def test_a_share_of_the_files_is_seen(tmp_path: Path, type_: str | None, expected: bool) -> None:
    content = {"train": {"TrainingInputMode": "File"} | ({"S3DistributionType": type_} if type_ else {})}
    assert is_sharded(write(tmp_path, "inputdataconfig", content), TRAIN) is expected
