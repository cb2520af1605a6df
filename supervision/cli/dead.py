"""`supervision dead`: letters that no consumer could take: list, show, replay, drop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from supervision import topology
from supervision.adapters.dead_letters import MOST_SEEN, DeadLetters, Letter, among
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    span,
    utc,
)
from supervision.errors import InvalidValue, NotFound, Refused

_FIRST_BYTES = 60
_QUEUE = click.option(
    "--queue", metavar="NAME", help="Only letters of this queue; all queues unless told otherwise."
)


@click.group(epilog=examples("supervision dead list", "supervision dead replay --help"))
def dead() -> None:
    """See, send again or drop the messages that no consumer could take.

    Such a message lies in dead-QUEUE with the reason, for as long as nobody does anything. While
    one of these commands looks at letters nobody else can have them.
    """


@dead.command("list", epilog=examples("supervision dead list --queue in-monitoring-9999"))
@_QUEUE
@as_json_option
@pass_invocation
def list_(invocation: Invocation, *, queue: str | None, as_json: bool) -> None:
    """List dead letters, oldest first in each queue.

    AGE counts from when the message was sent. Name a letter to the other commands by its KEY, or
    by the beginning of that.
    """
    with _graves(invocation) as (graves, now):
        counts = _counts(graves, queue)
        letters = [letter for name in counts for letter in graves.read(name)]
    if as_json:
        echo_json([_as_json(letter) for letter in letters])
    for letter in [] if as_json else letters:
        click.echo(_line(letter, now))
    for name, count in counts.items():
        if count > MOST_SEEN:
            click.echo(f"{name} has {count} letters: the first {MOST_SEEN} are shown", err=True)
    if not letters:
        _nothing(queue)


@dead.command(epilog=examples("supervision dead show 3f2a9c"))
@click.argument("key")
@_QUEUE
@as_json_option
@pass_invocation
def show(invocation: Invocation, key: str, *, queue: str | None, as_json: bool) -> None:
    """Show a dead letter whole: its reason, its properties, its body."""
    with _graves(invocation) as (graves, _):
        found = _meant(graves, queue, [key])
    if as_json:
        echo_json([_as_json(letter) for letter in found])
        return
    click.echo("\n\n".join(_whole(letter) for letter in found))


@dead.command(
    epilog=examples(
        "supervision dead replay 3f2a9c", "supervision dead replay --all --queue in-monitoring-9999"
    )
)
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@_QUEUE
@click.option("--all", "everything", is_flag=True, help="All letters (of the queue).")
@pass_invocation
def replay(
    invocation: Invocation, keys: Sequence[str], *, queue: str | None, everything: bool
) -> None:
    """Send dead letters to the queue where they died, once more.

    Do it when the cause is mended: one that cannot be read dies again. Each is sent before it
    leaves the dead letters, so a crash in between doubles it, which does no harm.
    """
    _check(keys, everything=everything)
    with _graves(invocation) as (graves, _):
        found = _meant(graves, queue, keys)
        done = [graves.replay(name, among(keys)) for name in _queues(found)]
    gone, stuck = (sum(counts) for counts in zip(*done, strict=True))
    click.echo(f"Sent again: {gone}.")
    _complain_of_missing(len(found) - gone - stuck)
    if stuck:
        raise Refused(f"{stuck} letters stay: no broker takes them as they are; see dead show")


@dead.command(epilog=examples("supervision dead drop 3f2a9c --yes"))
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@_QUEUE
@click.option("--all", "everything", is_flag=True, help="All letters (of the queue).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def drop(
    invocation: Invocation, keys: Sequence[str], *, queue: str | None, everything: bool, yes: bool
) -> None:
    """Forget dead letters for good.

    A monitoring message that is dropped is lost: nobody else has it.
    """
    _check(keys, everything=everything)
    with _graves(invocation) as (graves, now):
        found = _meant(graves, queue, keys)
        for letter in found:
            click.echo(_line(letter, now))
        if not yes and not click.confirm(f"Forget {_letters(len(found))}, for good?"):
            raise Refused("nothing was dropped")
        meant = {letter.key for letter in found}
        gone = sum(graves.drop(name, lambda it: it.key in meant) for name in _queues(found))
    click.echo(f"Dropped: {gone}.")
    _complain_of_missing(len(found) - gone)


@contextmanager
def _graves(invocation: Invocation) -> Iterator[tuple[DeadLetters, datetime]]:
    with opened(invocation, broker=True) as made:
        if made.embedded:
            raise Refused(
                "the broker of these settings lives in the memory of the service: its dead letters "
                "are its own, and end with it. No monitoring message is among them: `supervision "
                "ingest` tells at once which ones it cannot read. With RabbitMQ they are kept"
            )
        yield DeadLetters(made.broker, made.depths), made.clock.now()


def _check(keys: Sequence[str], *, everything: bool) -> None:
    if bool(keys) == everything:
        raise click.UsageError("name letters by their keys, or say --all")
    if not all(key.strip() for key in keys):
        raise click.UsageError("a key must not be empty")


def _counts(graves: DeadLetters, queue: str | None) -> dict[str, int]:
    name = None if queue is None else queue.removeprefix(topology.DEAD_PREFIX)
    if name is not None and name not in topology.WORK_QUEUES:
        known = ", ".join(topology.WORK_QUEUES)
        raise InvalidValue(f"no queue is called {plain(queue or '')!r}; there are: {known}")
    return {each: n for each, n in graves.counts().items() if name in {None, each}}


def _meant(graves: DeadLetters, queue: str | None, keys: Sequence[str]) -> list[Letter]:
    """Read the letters that are meant; raises NotFound for a key that none has."""
    letters = [letter for name in _counts(graves, queue) for letter in graves.read(name)]
    for key in keys:
        if not any(letter.key.startswith(key) for letter in letters):
            raise NotFound(f"no dead letter has a key that begins with {plain(key)!r}")
    found = [letter for letter in letters if among(keys)(letter)]
    if not found:
        raise NotFound("there are no such dead letters")
    for key in keys:
        same = {letter.key for letter in found if letter.key.startswith(key)}
        if len(same) > 1:
            raise NotFound(f"{plain(key)!r} is ambiguous; candidates: {', '.join(sorted(same))}")
    return found


def _complain_of_missing(count: int) -> None:
    if count > 0:
        raise NotFound(f"{_letters(count)} went elsewhere meanwhile: look again with dead list")


def _queues(letters: Sequence[Letter]) -> list[str]:
    return list(dict.fromkeys(letter.queue for letter in letters))


def _nothing(queue: str | None) -> None:
    click.echo(f"There are no dead letters{f' of {plain(queue)}' if queue else ''}.", err=True)
    click.get_current_context().exit(Exit.NOTHING)


def _line(letter: Letter, now: datetime) -> str:
    body = plain(repr(letter.envelope.body[:_FIRST_BYTES])[2:-1])
    reason = plain(letter.reason).replace("\n", " ")
    return (
        f"{letter.key}  {letter.queue}  {span(now - letter.sent_at)}  "
        f"{len(letter.envelope.body)} bytes: {body}\n    {reason}"
    )


def _whole(letter: Letter) -> str:
    envelope = letter.envelope
    properties = {"message_id": envelope.message_id, "type": envelope.type} | dict(envelope.headers)
    lines = [f"{letter.key}  died in {letter.queue}, sent at {utc(letter.sent_at)}"]
    lines += [f"  {plain(name)}: {plain(value)}" for name, value in properties.items() if value]
    return "\n".join([*lines, "", plain(envelope.body.decode(errors="backslashreplace"))])


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters"


def _as_json(letter: Letter) -> dict[str, Any]:
    values = asdict(letter)
    values["envelope"]["body"] = letter.envelope.body.decode(errors="backslashreplace")
    return values
