"""The hosts (instances) of a training job, as SageMaker names them to each host."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class InstanceGroup:
    """Hosts of one instance type. A heterogeneous cluster has several such groups."""

    name: str
    instance_type: str
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Hosts:
    """The hosts (instances) of a training job.

    Parameters
    ----------
    current
        Name of this host.
    names
        Names of all hosts, sorted. The first host leads: it runs Ray's head node, and writes the artifact.
    interface
        Network interface between the hosts, for example ``eth0``. None if the platform does not name it.
    groups
        Instance groups of a heterogeneous cluster. Otherwise empty.
    """

    current: str
    names: tuple[str, ...]
    interface: str | None = None
    groups: tuple[InstanceGroup, ...] = field(default=())

    @property
    def first(self) -> str:
        """Name of the first host, which leads the job."""
        return self.names[0]

    @property
    def leads(self) -> bool:
        """Whether this host is the first one, which leads the job."""
        return self.current == self.first

    @property
    def others(self) -> tuple[str, ...]:
        """Names of all hosts except the first, which leads the job."""
        return self.names[1:]

    def summary(self) -> str:
        """Return the names of the hosts for a log line, with their instance types if these differ."""
        kinds = {host: f" ({group.name}, {group.instance_type})" for group in self.groups for host in group.hosts}
        named = kinds if len(self.groups) > 1 else {}
        return ", ".join(host + named.get(host, "") for host in self.names)
