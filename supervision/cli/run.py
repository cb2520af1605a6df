"""`supervision run`: the service itself, until somebody says stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import click

from supervision import app, app_serve
from supervision.cli.common import Invocation, examples, opened, pass_invocation


@click.command(
    epilog=examples("supervision run", "supervision --config curie.toml run dispatch execute")
)
@click.argument("stages", metavar="[STAGES]...", nargs=-1, type=click.Choice(app.STAGES))
@pass_invocation
def run(invocation: Invocation, stages: Sequence[str]) -> None:
    """Run the service: all of it, or some stages.

    STAGES are monitoring, late-jobs, detect, format, dispatch, execute and sweep; all of them
    unless some are named. Stages may run in any number of processes on any number of machines,
    where PostgreSQL and RabbitMQ connect them; somebody has to run each of them. Without any
    configuration everything runs in this process, on a SQLite file in the current directory.

    SIGTERM or Ctrl-C ends it in order: what is under way is finished, what is not comes back.
    SIGHUP has it read its settings anew; it also notices by itself that the file is another one.
    A file with a mistake changes nothing, and the log says so. `supervision settings --check FILE`
    tells beforehand.

    Logs go to stderr, as JSON lines unless that is a terminal. The exit code is 1 when a part of
    it broke: start it again, nothing is lost.
    """
    invocation.log(json=not sys.stderr.isatty(), quiet_level="info")
    settings = invocation.settings()
    chosen = [stage for stage in app.STAGES if not stages or stage in stages]
    if settings.broker_url.startswith(app.MEMORY_URL) and len(chosen) < len(app.STAGES):
        raise click.UsageError(
            "stages of different processes cannot meet in memory: run all of them in one, or set "
            "broker_url to a RabbitMQ"
        )
    with opened(invocation):
        pass  # the database answers, and has its tables
    told = app_serve.Told()
    with _told_by_signals(told):
        code = app_serve.serve(settings, chosen, told, invocation.settings)
    click.get_current_context().exit(code)


@contextmanager
def _told_by_signals(told: app_serve.Told) -> Iterator[None]:
    """Tell it to stop on SIGTERM and SIGINT, to reload on SIGHUP; a second one does not hurt.

    A terminal that hangs up sends SIGHUP too: who runs it there is gone, so that means stop.

    Python's own handlers run between any two steps of the main thread, where setting an event may
    wait for a lock that this thread holds. So they do nothing, and another thread hears of the
    signal through a socket.
    """
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    Thread(target=_listen, args=(ear, told, sys.stderr.isatty()), daemon=True).start()
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {each: signal.signal(each, _heard) for each in numbers}
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for each, handler in handlers.items():
            signal.signal(each, handler)
        mouth.close()


def _heard(_number: int, _frame: object) -> None:
    """Nothing is to be done here; but without it the process would die."""


def _listen(ear: socket.socket, told: app_serve.Told, at_terminal: bool) -> None:  # noqa: FBT001
    with ear:
        while number := ear.recv(1):  # to the end: Python complains of a signal that nobody hears
            if number[0] == signal.SIGHUP and not (at_terminal and _hung_up()):
                told.reload.set()
            else:
                told.stop.set()


def _hung_up() -> bool:
    """Whether the terminal is gone; then nothing more is written to it, for that would fail."""
    if os.isatty(sys.stderr.fileno()):
        return False
    nobody = os.open(os.devnull, os.O_WRONLY)
    for each in (sys.stdout, sys.stderr):
        os.dup2(nobody, each.fileno())
    return True
