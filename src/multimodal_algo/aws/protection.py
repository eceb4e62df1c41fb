"""Network, keys and tags of what is created in the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.core.errors import UserError


@dataclass(frozen=True)
class Protection:
    """Network, keys and tags of a job, a model or an endpoint.

    Each request takes the parts that its operation knows.

    Parameters
    ----------
    subnets, security_groups
        IDs of the VPC's subnets and security groups. Both are empty outside a VPC.
    volume_key
        KMS key of the disks. None for the key of the service.
    output_key
        KMS key of artifacts and answers in S3. None for the key of the bucket.
    encrypt_traffic
        Whether the instances of a training job encrypt what they send to each other.
    tags
        Tags of the resource.
    """

    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    volume_key: str | None = None
    output_key: str | None = None
    encrypt_traffic: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> dict[str, Any]:
        """``VpcConfig`` of a request. Empty outside a VPC.

        Raises
        ------
        UserError
            There are subnets without security groups, or the reverse.
        """
        if not self.subnets and not self.security_groups:
            return {}
        if not self.subnets or not self.security_groups:
            missing = "--security-groups" if self.subnets else "--subnets"
            raise UserError(f"A VPC takes subnets and security groups: give {missing} too.")
        return {"VpcConfig": {"Subnets": list(self.subnets), "SecurityGroupIds": list(self.security_groups)}}

    @property
    def traffic(self) -> dict[str, Any]:
        """``EnableInterContainerTrafficEncryption`` of a request. Empty for the default."""
        return {"EnableInterContainerTrafficEncryption": True} if self.encrypt_traffic else {}

    @property
    def output(self) -> dict[str, Any]:
        """``KmsKeyId`` of an output in S3. Empty for the default."""
        return {"KmsKeyId": self.output_key} if self.output_key else {}

    @property
    def labels(self) -> dict[str, Any]:
        """``Tags`` of a request. Empty without tags."""
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()]} if self.tags else {}

    def volume(self, key: str, instance: str) -> dict[str, Any]:
        """Return the key of the disks under the name that a request has for it. Empty for the default.

        Parameters
        ----------
        key
            Name in the request: ``VolumeKmsKeyId``, or ``KmsKeyId`` of an endpoint.
        instance
            Instance type.

        Raises
        ------
        UserError
            The disks of the instance type are encrypted by its hardware, and the service refuses a key for them.
        """
        if not self.volume_key:
            return {}
        if has_local_disks(instance):
            raise UserError(
                f"{instance} has disks of its own, which its hardware encrypts, so the service refuses a key for them. "
                "Leave --volume-kms-key out."
            )
        return {key: self.volume_key}


UNPROTECTED = Protection()
"""Defaults of the service, without tags."""


def has_local_disks(instance: str) -> bool:
    """Whether instances of a type have disks of their own, as those with GPUs do. Source: API, ``ResourceConfig``."""
    family = instance.split(".")[1]
    return family.startswith(("g", "p4", "p5", "p6")) or family.rstrip("n").endswith("d")
