"""The hosts of a job, as each of them is told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class InstanceGroup:
    """Hosts of one instance type in a heterogeneous cluster."""

    name: str
    instance_type: str
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Hosts:
    """Who takes part.

    Parameters
    ----------
    current
        The name of this host.
    names
        All names, sorted. The first one leads: it holds the head of Ray, and writes the artifact.
    interface
        The network interface between them, such as ``eth0``; None where it is not told.
    groups
        The instance groups; none where the platform tells of none.
    """

    current: str
    names: tuple[str, ...]
    interface: str | None = None
    groups: tuple[InstanceGroup, ...] = field(default=())

    @property
    def first(self) -> str:
        """The host that leads."""
        return self.names[0]

    @property
    def leads(self) -> bool:
        """Whether this is the first host."""
        return self.current == self.first

    @property
    def others(self) -> tuple[str, ...]:
        """All but the first."""
        return self.names[1:]

    def told(self) -> str:
        """One line for the log."""
        kinds = {host: f" ({group.name}, {group.instance_type})" for group in self.groups for host in group.hosts}
        named = kinds if len(self.groups) > 1 else {}
        return ", ".join(host + named.get(host, "") for host in self.names)
