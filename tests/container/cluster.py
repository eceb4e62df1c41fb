"""Several training containers on one docker network, each with the platform's files for its host."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine import ONE_THREAD, TRAINING, docker, inspect

from multimodal_algo.local.tree import ChannelData, build_training_tree


class Cluster:
    """The hosts of a job. A context manager that removes their containers at the end.

    Parameters
    ----------
    directory
        Directory for the trees of the hosts.
    hosts
        Number of hosts. Their names are ``algo-1``, ``algo-2``, ...
    channels
        Folder of each channel's files. Each host gets all of them.
    parameters
        The job's hyperparameters.
    environment
        Environment variables of the containers.
    """

    def __init__(
        self,
        directory: Path,
        hosts: int,
        channels: Mapping[str, Path],
        parameters: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.hosts = [f"algo-{number}" for number in range(1, hosts + 1)]
        self._directory = directory
        self._environment = environment or {}
        self._network = f"multimodal-test-{uuid.uuid4().hex[:12]}"
        self._started: set[str] = set()
        for host in self.hosts:
            base = self.tree(host)
            build_training_tree(base, {name: ChannelData(path) for name, path in channels.items()}, dict(parameters))
            self._write_hosts(host)

    def _write_hosts(self, host: str) -> None:
        config = {
            "current_host": host,
            "current_instance_type": "ml.m5.xlarge",
            "current_group_name": "homogeneousCluster",
            "hosts": self.hosts,
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.xlarge", "hosts": self.hosts}
            ],
            "network_interface_name": "eth0",
        }
        (self.tree(host) / "input/config/resourceconfig.json").write_text(json.dumps(config))

    def tree(self, host: str) -> Path:
        """The directory that a host sees as `/opt/ml`."""
        return self._directory / host

    def shard(self, channel: str, shares: Sequence[Iterable[str]]) -> None:
        """Leave each host only its share of a channel's files, as `ShardedByS3Key` does."""
        for host, share in zip(self.hosts, shares, strict=True):
            data = self.tree(host) / "input/data" / channel
            own = set(share)
            files = [path for path in data.rglob("*") if path.is_file()]
            if data.is_symlink():
                source = data.resolve()
                data.unlink()
                data.mkdir()
                for path in files:
                    shutil.copy(source / path.relative_to(data), data / path.relative_to(data))
                files = [path for path in data.rglob("*") if path.is_file()]
            for path in files:
                if path.relative_to(data).as_posix() not in own:
                    path.unlink()
            config = self.tree(host) / "input/config/inputdataconfig.json"
            channels = json.loads(config.read_text())
            channels[channel]["S3DistributionType"] = "ShardedByS3Key"
            config.write_text(json.dumps(channels))

    def __enter__(self) -> Cluster:
        docker("network", "create", "--internal", self._network)
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self._started:
            docker("rm", "--force", self.name(host), check=False)
        docker("network", "rm", self._network, check=False)

    def name(self, host: str) -> str:
        """The name of a host's container."""
        return f"{self._network}-{host}"

    def start(self, hosts: Iterable[str] | None = None, *options: str) -> None:
        """Start the containers of all hosts, or of those given."""
        variables = ["-e", ONE_THREAD]
        variables += [option for name, value in self._environment.items() for option in ("-e", f"{name}={value}")]
        for host in hosts or self.hosts:
            self._started.add(host)
            docker(
                "run", "--detach", "--name", self.name(host), "--network", self._network, "--network-alias", host,
                *variables, *options, "-v", f"{self.tree(host)}:/opt/ml", TRAINING, "train",
            )  # fmt: skip

    def wait(self) -> dict[str, int]:
        """Wait until all containers have ended, and return their exit codes by host."""
        for host in sorted(self._started):
            docker("wait", self.name(host))
        return {host: int(inspect(self.name(host))["State"]["ExitCode"]) for host in sorted(self._started)}

    def log(self, host: str) -> str:
        """The log of a host's container."""
        done = subprocess.run(["docker", "logs", self.name(host)], check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def wait_for(self, host: str, words: str, *, checkpoint: str | None = None) -> None:
        """Read the log of a host until it has `words`, and a finished part of the job is among its checkpoints.

        Fails if the log ends first.
        """
        part = None if checkpoint is None else self.tree(host) / "checkpoints" / checkpoint
        has_words = False
        command = ["docker", "logs", "--follow", self.name(host)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as log:
            assert log.stdout is not None
            for line in log.stdout:
                has_words = has_words or words in line
                if has_words and (part is None or part.exists()):
                    log.terminate()
                    return
        raise AssertionError(f"the log of {host} ends without '{words}' and {checkpoint}:\n{self.log(host)[-3000:]}")

    def kill(self, host: str) -> None:
        """Kill a host's container."""
        docker("kill", self.name(host))

    def failure(self, host: str) -> str | None:
        """The text of a host's failure file, or None if it does not exist."""
        path = self.tree(host) / "output/failure"
        return path.read_text() if path.exists() else None
