"""Everything that a real campaign runs on: servers, network, centres, processes of the service."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2

from db.session import upgrade
from tests.campaign import real_settings
from tests.campaign.real_centre import Campus
from tests.campaign.real_mailbox import Mailbox
from tests.campaign.real_processes import Fleet, environment
from tests.campaign.real_settings import Door
from tests.faults.tcp_proxy import TcpProxy
from tests.services.handles import PostgresHandle, RabbitHandle
from tests.services.postgres import Postgres
from tests.services.rabbitmq import Rabbit
from tests.services.shared import Run
from tests.services.sshd import Sshd, generate, public

DATABASE: Final = "campaign"
DISK: Final = "64m"
"""The size of a home: room for the journal of a long campaign, and soon filled."""


@dataclass(kw_only=True)
class World:
    """What the faults and the audit work on. `no_disk` says why homes have no disk of their own."""

    folder: Path
    postgres: PostgresHandle
    rabbit: RabbitHandle
    node: Sshd
    links: dict[str, TcpProxy]
    near: Campus
    far: Campus
    fleet: Fleet
    mailbox: Mailbox
    no_disk: str | None

    @property
    def campuses(self) -> tuple[Campus, Campus]:
        """Both sites: one entered as a local process, one by ssh."""
        return self.near, self.far

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database itself, past the proxy. Raises psycopg2.Error while it is away."""
        server = self.postgres.server
        with (
            psycopg2.connect(
                host="127.0.0.1", port=server.port, user="postgres", dbname=DATABASE
            ) as opened,
            opened.cursor() as cursor,
        ):
            cursor.execute(statement)
            rows = list(cursor.fetchall())
        opened.close()
        return rows


@contextmanager
def a_world(*, keep: bool = False) -> Iterator[World]:
    """Start everything on free ports of loopback; nothing of it outlives this block."""
    run = Run.begun()
    with ExitStack() as stack:
        stack.callback(_end, run, keep=keep)
        folder = run.session.folder
        rabbit = RabbitHandle(session=run.session, server=Rabbit.started(run.session))
        stack.callback(rabbit.close)
        rabbit.url = rabbit.server.url("%2F")
        postgres = PostgresHandle(session=run.session, server=Postgres.started(run.session))
        stack.callback(postgres.close)
        postgres.server.create(DATABASE)
        postgres.url = postgres.server.url(DATABASE)
        upgrade(postgres.url)
        near = Campus.built(folder / "near", site="near", login="p86near")
        far = Campus.built(folder / "far", site="far")
        no_disk = _own_disks(stack, near, far)
        node = _node(stack, folder, far)
        links = {
            "database": stack.enter_context(TcpProxy(postgres.url)),
            "broker": stack.enter_context(TcpProxy(rabbit.url)),
            "login node": stack.enter_context(TcpProxy(f"ssh://127.0.0.1:{node.port}")),
        }
        config = _configure(folder, near, far, links["login node"], node)
        stack.callback(_let_scripts_end, near, far)
        variables = environment(
            config=config, database=links["database"].url, broker=links["broker"].url
        )
        fleet = Fleet(folder, variables)
        stack.callback(fleet.close)
        mailbox = Mailbox(rabbit.url)
        stack.callback(mailbox.close)
        yield World(
            folder=folder,
            postgres=postgres,
            rabbit=rabbit,
            node=node,
            links=links,
            near=near,
            far=far,
            fleet=fleet,
            mailbox=mailbox,
            no_disk=no_disk,
        )


def _own_disks(stack: ExitStack, *campuses: Campus) -> str | None:
    """Give each home a small disk of its own; tells why not, where that is not allowed."""
    problem = None
    for campus in campuses:
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(campus.home)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            problem = f"a tmpfs cannot be mounted here: {done.stderr.strip()}"
        else:
            unmount = ["umount", "--lazy", str(campus.home)]
            stack.callback(subprocess.run, unmount, check=False, capture_output=True)
        campus.prepare_agent()
    return problem


def _node(stack: ExitStack, folder: Path, far: Campus) -> Sshd:
    node = Sshd.prepared(folder / "node")
    node.authorize(generate(folder / "id"), far.agent_command())
    node.start()
    stack.callback(node.stop)
    return node


def _configure(folder: Path, near: Campus, far: Campus, link: TcpProxy, node: Sshd) -> Path:
    port = int(link.url.rpartition(":")[2])
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {public(node.folder / 'host_key')}\n")
    door = Door(port=port, credential=folder / "id", known_hosts=known)
    config = folder / "supervision.toml"
    config.write_text(real_settings.text(folder, [(near, None), (far, door)]))
    (folder / "mails").mkdir(exist_ok=True)
    shutil.rmtree(folder / "mails")
    return config


def _let_scripts_end(*campuses: Campus) -> None:
    for campus in campuses:
        for pid in processes_of(campus):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


def processes_of(campus: Campus) -> list[int]:
    """Every agent, runner and script of a site that runs now."""
    mark = str(campus.home).encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark in path.read_bytes():
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def _end(run: Run, *, keep: bool) -> None:
    if not keep:
        run.end()
