"""From a failed job to its restart over real ssh; and a site that never answers delays no other."""

from __future__ import annotations

import base64
import json
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pytest

from supervision.facts import Supervision
from supervision.fsm.states import State
from tests import agent_kit
from tests.integration.end_to_end_kit import World, a_world, command, until, with_engine
from tests.services.sshd import Sshd, generate, public

SITE = "sandbox"
SILENT = "silent"
PATIENT = {"deadline": 120, "lease": 300}
"""So many seconds would anybody wait who waits for the silent site."""
_ROOT = Path(__file__).parents[2]
_SSH = """\
transport = "ssh"
hosts = ["127.0.0.1"]
port = {port}
credential_file = "{folder}/key"
known_hosts_file = "{folder}/known_hosts"
"""
_SILENT_SITE = """
[sites.silent]
centres = ["SILENT"]
machines = ["silent"]
mode = "act"
scheduler = "sandbox"
interpreter = "bash"
master_key_file = "{folder}/master"
"""


@dataclass(frozen=True, kw_only=True)
class Centre:
    """A sandbox centre that is reached over ssh, its login node, and a port that never answers."""

    world: World
    node: Sshd
    silent: socket.socket


@pytest.fixture
def centre(tmp_path: Path, sqlite_url: str) -> Iterator[Centre]:
    """A sandbox behind sshd: its agent is a forced command, and no other way leads there."""
    silent = socket.create_server(("127.0.0.1", 0))
    with closing(silent), a_world(tmp_path, database=sqlite_url) as world:
        node = _login_node(tmp_path, world)
        key = public(node.folder / "host_key")
        ports = (node.port, silent.getsockname()[1])
        lines = [f"[127.0.0.1]:{port} {key}\n" for port in ports]
        (tmp_path / "known_hosts").write_text("".join(lines))
        (tmp_path / "master").write_bytes((world.centre.root / "master.key").read_bytes())
        (tmp_path / "master").chmod(0o600)
        _reach_by_ssh(tmp_path, world, ports)
        try:
            yield Centre(world=world, node=node, silent=silent)
        finally:
            node.stop()


def _login_node(folder: Path, world: World) -> Sshd:
    """Start an sshd that runs the centre's agent for one key, and nothing else for anybody."""
    node = Sshd.prepared(folder / "node")
    home = shlex.quote(str(world.centre.root / "home"))
    agent_kit.command(
        folder / "bin",
        "agent",
        f"cd {_ROOT} && exec {sys.executable} -m hpc_agent serve --home {home}",
    )
    node.authorize(generate(folder / "key"), str(folder / "bin" / "agent"))
    node.start()
    return node


def _reach_by_ssh(folder: Path, world: World, ports: tuple[int, int]) -> None:
    """Change the sandbox's settings to ssh, and add the site that never answers."""
    here, silent = (_SSH.format(port=port, folder=folder) for port in ports)
    text = re.sub(r"(?m)^(agent_home|agent_python) = .*\n", "", world.config.read_text())
    text = with_engine(text, PATIENT).replace('transport = "local"\n', here)
    text = f"{text}{_SILENT_SITE.format(folder=folder)}{silent}"
    world.config.write_text(text)


def _row(world: World, site: str) -> Supervision | None:
    """The only supervision of a site; None while there is none."""
    rows = [row for row in world.rows() if row.site == site]
    assert len(rows) <= 1, rows
    return rows[0] if rows else None


def _executed(world: World) -> bool:
    row = _row(world, SITE)
    return row is not None and row.state is State.EXECUTED


def _told(world: World, row: Supervision) -> str:
    """Tell what the agent's journal says of the end of a row's first attempt."""
    journal = world.centre.root / "home" / ".supervision-agent" / "journal"
    return str(json.loads((journal / row.id / "1.ended").read_text())["kind"])


def test_a_failed_job_is_restarted_over_ssh(centre: Centre) -> None:
    """Detected from its mail, dispatched over ssh to the forced command, executed there, once."""
    world = centre.world
    world.run().begun()
    uid = world.simulate("error:3")
    until(lambda: _executed(world), "the row is executed")
    until(lambda: (row := _row(world, SITE)) and row.recovered_at, "the simulation has recovered")
    until(lambda: world.jobs()[-1][0] == "ended", "the last job ends")
    row = _row(world, SITE)
    assert row is not None
    assert (uid, 1, 1) == (row.simulation_uid, row.attempt, row.dispatch_try_count)
    assert [("ended", "completed"), ("ended", "failed"), ("ended", "completed")] == world.jobs()
    assert _told(world, row) == "executed"
    assert centre.node.accepted() == 1


def test_a_silent_site_delays_no_other(centre: Centre) -> None:
    """While its login node lets the service hang, another site's job is restarted."""
    world = centre.world
    world.by_hand()
    world.simulate("error:3")
    until(lambda: any(each["msgCode"] == "1999" for each in world.sent()), "the job fails")
    said = world.sent()
    world.run().begun()
    _take_in(world, "silent", [_of_the_silent_site(each) for each in said])
    centre.silent.settimeout(90)
    with closing(centre.silent.accept()[0]) as hanging:
        _take_in(world, "sandbox", said)
        until(lambda: _executed(world), "the other site's row is executed")
        assert _is_open(hanging)
        row = _row(world, SILENT)
        assert row is not None
        assert row.state is State.FORMATTED


def _take_in(world: World, name: str, messages: Sequence[dict[str, str]]) -> None:
    """Hand messages to the service as one mail."""
    file = world.centre.root / f"{name}.mail"
    lines = [base64.b64encode(json.dumps(each).encode()).decode() for each in messages]
    file.write_text("".join(f"{line}\n" for line in lines))
    done = command("ingest", file, env=world.environment)
    assert done.returncode == 0, done.stderr


def _of_the_silent_site(message: dict[str, str]) -> dict[str, str]:
    """Give what another simulation, at the silent site, would have said."""
    ids = {
        name: str(uuid5(NAMESPACE_OID, message[name])) for name in ("simuid", "jobuid", "msgUID")
    }
    where = {"centre": "SILENT", "machine": SILENT} if message["msgCode"] == "0000" else {}
    return {**message, **ids, **where}


def _is_open(connection: socket.socket) -> bool:
    """Tell whether the other end still waits for us, after whatever it has said."""
    connection.setblocking(False)
    try:
        while said := connection.recv(4096):
            assert said
    except BlockingIOError:
        return True
    return False
