"""Network, encryption keys and tags of the resources that are created in the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multimodal_algo.core.errors import UserError


@dataclass(frozen=True)
class Protection:
    """Network, encryption keys and tags of a job, a model or an endpoint.

    Each request uses only the parts that its operation accepts.

    Parameters
    ----------
    subnets, security_groups
        IDs of the VPC's subnets and security groups. Both are empty outside a VPC.
    volume_key
        KMS key for the disks. None to use the key of the service.
    output_key
        KMS key for artifacts and answers in S3. None to use the key of the bucket.
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
        """The key ``VpcConfig`` of a request with its value. Empty outside a VPC.

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
        """The key ``EnableInterContainerTrafficEncryption`` of a request with its value. Empty without encryption."""
        return {"EnableInterContainerTrafficEncryption": True} if self.encrypt_traffic else {}

    @property
    def output(self) -> dict[str, Any]:
        """The key ``KmsKeyId`` of an output in S3 with its value. Empty if no key is set."""
        return {"KmsKeyId": self.output_key} if self.output_key else {}

    @property
    def labels(self) -> dict[str, Any]:
        """The key ``Tags`` of a request with its value. Empty without tags."""
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()]} if self.tags else {}

    def volume(self, key: str, instance: str) -> dict[str, Any]:
        """Return the part of a request with the KMS key for the disks. Empty if no key is set.

        Parameters
        ----------
        key
            Name of the KMS key in the request: ``VolumeKmsKeyId``, or for an endpoint ``KmsKeyId``.
        instance
            Instance type.

        Raises
        ------
        UserError
            The hardware of the instance type encrypts its disks. For such disks, the service refuses a key.
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
    """Return whether instances of a type have local disks, as those with GPUs do. Source: API, ``ResourceConfig``."""
    family = instance.split(".")[1]
    return family.startswith(("g", "p4", "p5", "p6")) or family.rstrip("n").endswith("d")
