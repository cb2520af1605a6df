"""The programs that tests need; a missing one is a failure, with the command that installs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = {
    "dot": "graphviz",
    "epmd": "rabbitmq-server",
    "grid-proxy-init": "globus-proxy-utils",
    "initdb": "postgresql",
    "ksh": "ksh",
    "munged": "munge",
    "openssl": "openssl",
    "postgres": "postgresql",
    "pypy3": "pypy3",
    "python3": "python3",
    "rabbitmq-server": "rabbitmq-server",
    "rabbitmqctl": "rabbitmq-server",
    "sbatch": "slurm-client",
    "scancel": "slurm-client",
    "scontrol": "slurm-client",
    "shellcheck": "shellcheck",
    "sinfo": "slurm-client",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "squeue": "slurm-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
"""Program -> Debian package; requirements/debian.txt names every package that stands here."""

_SBIN: Final = (Path("/usr/sbin"), Path("/usr/local/sbin"), Path("/sbin"))
_HOMES: Final[dict[str, str]] = {
    "initdb": "/usr/lib/postgresql",
    "postgres": "/usr/lib/postgresql",
    # What Debian has on the PATH is a wrapper that changes to another account.
    "rabbitmq-server": "/usr/lib/rabbitmq",
    "rabbitmqctl": "/usr/lib/rabbitmq",
}
"""Where Debian keeps programs that are not on the PATH, or are there only as a wrapper."""


def program(name: str) -> str:
    """Path of a program; fails the test with the command that installs it where it is missing."""
    found = next((str(path) for path in _candidates(name) if path.is_file()), None)
    if found is None:
        package = PACKAGES.get(name, name)
        pytest.fail(f"{name} is missing: apt-get install -y {package}", pytrace=False)
    return found


def _candidates(name: str) -> Iterable[Path]:
    if name in _HOMES:
        yield from sorted(Path(_HOMES[name]).glob(f"**/bin/{name}"), key=_version, reverse=True)
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)
    yield from (folder / name for folder in _SBIN)


def _version(path: Path) -> int:
    """Order folders of PostgreSQL's versions as numbers: 9 stands before 15."""
    return max((int(part) for part in path.parts if part.isdecimal()), default=0)
