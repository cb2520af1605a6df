"""`supervision demo`: a centre, four simulations that fail, and a service that looks after them."""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Signal
from typing import Final, NoReturn

import click

from supervision.app import App
from supervision.cli import sandbox
from supervision.cli.common import Exit, Invocation, examples, opened, pass_invocation
from supervision.cli.demo_roles import ROLES, Role, Scene
from supervision.cli.demo_service import ChildService
from supervision.cli.demo_story import Happening, Story
from supervision.cli.demo_view import Times, View, finale, watching
from supervision.errors import NotFound, ProtocolError, Refused, SiteUnavailable
from supervision.facts import AnswerKind, Supervision
from supervision.fsm.engine.reading import Show
from supervision.fsm.states import State
from supervision.sandbox import builder, emission, plans, spool
from supervision.sandbox.centre import Centre, open_centre
from supervision.sandbox.files import locked
from supervision.sandbox.plans import Plan

_LONGEST_SECONDS: Final = 170.0
_LOOK_SECONDS: Final = 0.4
_PATIENCE_SECONDS: Final = 20.0
_TERMINATED: Final = 143
_UNDER_WAY: Final = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}


@click.command(epilog=examples("supervision demo", "supervision demo --dir /tmp/demo"))
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to play, new or of a demo before; it is kept. Else a temporary directory.",
)
@click.option("--keep", is_flag=True, help="Keep the temporary directory, to look around in it.")
@pass_invocation
def demo(invocation: Invocation, *, directory: Path | None, keep: bool) -> None:
    """Watch four simulations fail, and two of them recover.

    Makes a sandbox centre, starts the service and four simulations. One fails in its third
    period, one is killed silently: both are restarted, and reach their end. One blows up in the
    same period again and again, one is cancelled by its owner: both are left alone, and you read
    why. It takes less than a minute and a half, needs nothing installed, and touches nothing but
    its directory.

    Interrupted, it goes on with the same --dir. The exit code is 0 when all four ended as they
    should, else 1.
    """
    signal.signal(signal.SIGTERM, _terminate)
    if directory is not None:
        good = _play(invocation, directory, lasting=True)
    else:
        with _temporary(keep=keep) as made:
            good = _play(invocation, made, lasting=keep)
    click.get_current_context().exit(Exit.DONE if good else Exit.NOTHING)


def _terminate(_number: int, _frame: object) -> NoReturn:
    sys.exit(_TERMINATED)


@contextmanager
def _temporary(*, keep: bool) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="supervision-demo-"))
    try:
        yield path
    finally:
        if keep:
            click.echo(f"\nEverything is in {path}: supervision demo --dir {path}")
        else:
            shutil.rmtree(path, ignore_errors=True)


def _play(invocation: Invocation, directory: Path, *, lasting: bool) -> bool:
    """Play the demonstration to its end; everything that it started has ended then.

    `lasting`: the directory is kept, and the story may go on in it.
    """
    centre = _centre(directory)
    settings = centre.root / sandbox.SETTINGS_FILE
    own = Invocation(config=settings, verbose=invocation.verbose, environ={})
    with _alone(centre), opened(own) as made:
        service = ChildService(centre)
        try:
            number = service.begin()
            click.echo(f"A sandbox centre in {centre.root}; the service is process {number}.")
            story = Story(made=made, centre=centre, uids=_simulations(centre))
            return _watch(story, service)
        finally:
            click.echo("\nEnding what was started here ...", err=True)
            service.end()
            _quiet(made, centre, lasting=lasting)


def _centre(directory: Path) -> Centre:
    """Open the centre of a demo before, or make one; one that was half made is made again."""
    try:
        centre = open_centre(directory)
    except NotFound:
        return sandbox.make(directory, {})
    if (centre.root / sandbox.SETTINGS_FILE).exists():
        return centre
    builder.discard(centre)
    return sandbox.make(directory, {})


@contextmanager
def _alone(centre: Centre) -> Iterator[None]:
    """Hold the centre for this demonstration; the kernel lets go of it when we die."""
    with (centre.root / "demo.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another demonstration is running in {centre.root}") from error
        yield


def _simulations(centre: Centre) -> dict[str, str]:
    """Start the simulations that are not there yet; tells their uids by name."""
    there = plans.names(centre)
    return {role.name: _started(centre, role, there=role.name in there) for role in ROLES}


def _started(centre: Centre, role: Role, *, there: bool) -> str:
    if not there:
        faults = (plans.parse_fault(role.fault),)
        plan = Plan(name=role.name, uid=emission.new_uid(), periods=role.periods, faults=faults)
        builder.start_simulation(centre, plan)
        return plan.uid
    status = builder.status_of(centre, role.name)
    if status.job is None:  # killed between the plan and the first job
        builder.rerun(centre, role.name)
    return status.plan.uid


def _watch(story: Story, service: ChildService) -> bool:
    """Show what happens until all have ended, or it takes too long; tells whether they have."""
    clock = story.made.clock
    until = clock.monotonic_seconds() + _LONGEST_SECONDS
    told: list[Happening] = []
    times = Times()
    with watching(times) as view:
        while True:
            scenes = _look(story, service, view, told)
            over = all(scene.ended for scene in scenes) and not builder.undelivered(story.centre)
            if over or clock.monotonic_seconds() > until:
                break
            Signal().wait(_LOOK_SECONDS)
        scenes = _look(story, service, view, told)  # the last mail, too
    finale(scenes, told, times)
    return over


def _look(story: Story, service: ChildService, view: View, told: list[Happening]) -> list[Scene]:
    died = service.check()
    scenes = story.scenes()
    fresh = story.fresh(scenes)
    if died is not None:
        now = story.made.clock.now()
        fresh.append(Happening(at=now, name="-", who="demo", text=died))
    told += fresh
    view.show(scenes, fresh)
    return scenes


def _quiet(made: App, centre: Centre, *, lasting: bool) -> None:
    """End what the demonstration set off and what may still run: scripts, jobs, postmen.

    A script takes seconds, so it is waited for. So are jobs where the story may go on: one that
    is cancelled here would look as if its owner had done it.
    """
    until = made.clock.monotonic_seconds() + _PATIENCE_SECONDS
    while _busy(made, centre, jobs=lasting) and made.clock.monotonic_seconds() < until:
        Signal().wait(_LOOK_SECONDS)
    builder.stop(centre)
    with locked(centre.root / "mail.lock"):  # the last postman has gone home
        pass


def _busy(made: App, centre: Centre, *, jobs: bool) -> bool:
    if jobs and any(job.state != spool.ENDED for job in spool.queue(centre)):
        return True
    rows = made.engine.read(Show(states=(State.FORMATTED, State.DISPATCHED), limit=None))
    return any(_runs(made, row) for row in rows if row.dispatch_try_count)


def _runs(made: App, row: Supervision) -> bool:
    try:
        (answer,) = made.transport.status(row.site, row.login, [row.key])
    except (SiteUnavailable, ProtocolError):
        return False
    return answer.kind in _UNDER_WAY
