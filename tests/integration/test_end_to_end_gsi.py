"""A failed job is restarted over gsi-ssh: the service as a process, proxies, the real agent."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from supervision.fsm.states import State
from supervision.sandbox.toml import SITE
from tests.gsi_kit import HOUR, Holder, grid, grid_proxy_init, keep
from tests.integration.end_to_end_kit import Service, World, a_world, until, with_engine
from tests.services.gsisshd import GsiSshd
from tests.ssh_kit import ME

_ROOT: Final = Path(__file__).parents[2]
_END_SECONDS: Final = 8.0
_PATIENT: Final = {"lease": 40, "deadline": 30, "next_start_check": 600}
_WAY: Final = """\
transport = "gsi"
hosts = ["localhost"]
port = {port}
credential_file = "proxy-{{login}}"
known_hosts_file = "known_hosts"
certificate_directory = "{certificates}"
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[GsiSshd]:
    """Prepare a login node; it does not run yet."""
    node = GsiSshd.prepared(tmp_path / "node", certificates=grid().certificates)
    node.present(grid().authority.host("localhost").pem)
    yield node
    node.stop()


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str, node: GsiSshd) -> Iterator[World]:
    """A sandbox whose login node is reached by gsi-ssh and in no other way."""
    with a_world(tmp_path, database=sqlite_url) as made:
        root = made.centre.root
        text = with_engine(made.config.read_text(), _PATIENT)
        way = _WAY.format(port=node.port, certificates=grid().certificates)
        made.config.write_text(re.sub(r'(?m)^transport = "local"\n', way, text))
        (root / "known_hosts").write_text(node.line)
        yield made


def _let_in(world: World, node: GsiSshd, person: Holder) -> None:
    """Map a person to the account, for the agent alone, and begin to listen."""
    home = shlex.quote(str(world.centre.root / "home"))
    node.map(person.subject, ME, f"exec {sys.executable} -m hpc_agent serve --home {home}")
    node.start()


def _rules(service: Service, trigger: str) -> list[str]:
    """By which rules triggers of a kind were decided, first one first."""
    made = service.log("decision.made")
    return [str(entry["rule"]) for entry in made if entry["trigger"] == trigger]


def _proxy(world: World) -> Path:
    return world.centre.root / f"proxy-{ME}"


def _made_here(person: Holder, path: Path) -> None:
    keep(path, person.proxy().pem)


def _made_by_globus(person: Holder, path: Path) -> None:
    keep(path, grid_proxy_init(person, path.parent / "globus").read_bytes())


@pytest.mark.parametrize("make", [_made_here, _made_by_globus], ids=["here", "grid-proxy-init"])
def test_a_failed_job_is_restarted_over_gsi_ssh(
    world: World, node: GsiSshd, make: Callable[[Holder, Path], None]
) -> None:
    """From the failure to executed and recovered; the process then ends when it is told to."""
    person = grid().authority.person()
    _let_in(world, node, person)
    make(person, _proxy(world))
    service = world.run()
    world.simulate("error:3")
    until(lambda: (row := world.row()) and row.recovered_at, "the simulation has recovered")
    row = world.row()
    assert row is not None
    assert (State.EXECUTED, SITE, 1, 1) == (
        row.state, row.site, row.attempt, row.dispatch_try_count,
    )  # fmt: skip
    assert [("ended", "completed"), ("ended", "failed")] == world.jobs()[:2]
    assert len(world.jobs()) == 3
    assert 0 < node.accepted()
    assert service.terminate(_END_SECONDS) == 0
    assert b"PRIVATE" not in service.file.read_bytes()


def test_work_waits_for_a_proxy_and_goes_on_by_itself(world: World, node: GsiSshd) -> None:
    """An expired proxy costs no contact, and nothing is given up; with a new one it is done."""
    person = grid().authority.person()
    _let_in(world, node, person)
    keep(_proxy(world), person.proxy(ends=-HOUR).pem)
    service = world.run()
    world.simulate("error:3")
    until(lambda: "credential" in _rules(service, "fatal"), "the failure is put off")
    assert 0 == node.contacts()
    keep(_proxy(world), person.proxy().pem)
    until(lambda: (row := world.row()) and row.state is State.EXECUTED, "the row is executed")
    row = world.row()
    assert row is not None
    assert (1, 3) == (row.attempt, len(world.jobs()))
