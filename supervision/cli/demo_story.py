"""What the demonstration tells: how its simulations are, and what happens to them.

Everything is read anew from the centre's mail and from the database, so a demonstration that was
interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from supervision.adapters import mailfiles
from supervision.app import App
from supervision.cli.demo_roles import ROLES, Role, Scene, is_restart
from supervision.cli.lookup import of_simulation
from supervision.errors import DecodeError
from supervision.facts import Supervision, VerdictKind
from supervision.fsm.engine.reading import History, Simulations, Why
from supervision.messages import Meaning, MonitoringMessage, period_of
from supervision.sandbox import builder
from supervision.sandbox.centre import Centre
from supervision.wire import decode_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """One thing that happened: when, to which simulation, told by whom.

    `milestone`: the timeline at the end has it, too.
    """

    at: datetime
    name: str
    who: str
    text: str
    milestone: bool = False


@dataclass(kw_only=True)
class Story:
    """Reads scenes and happenings; `fresh` gives each happening once, in the order of its time."""

    made: App
    centre: Centre
    uids: dict[str, str]
    _read: set[Path] = field(default_factory=set)
    _told: set[tuple[object, ...]] = field(default_factory=set)

    def scenes(self) -> list[Scene]:
        """Read how the simulations are."""
        complete = self.made.engine.read(Simulations(uids=list(self.uids.values())))
        return [
            self._scene(role, complete.get(self.uids[role.name], {}).get("complete_at"))
            for role in ROLES
        ]

    def _scene(self, role: Role, complete_at: datetime | None) -> Scene:
        uid, engine = self.uids[role.name], self.made.engine
        return Scene(
            role=role,
            status=builder.status_of(self.centre, role.name),
            complete=complete_at is not None,
            decisions=engine.read(Why(simulation_uid=uid)),
            supervisions=[
                (row, engine.read(History(supervision_id=row.id)))
                for row in of_simulation(self.made, uid)
            ],
        )

    def fresh(self, scenes: Iterable[Scene]) -> list[Happening]:
        """Tell what has happened since this was asked last."""
        found = [*self._messages()]
        for scene in scenes:
            found += self._once(_decisions(scene))
            found += self._once(_steps(scene))
        return sorted(found, key=lambda each: each.at)

    def _once(self, told: Iterable[tuple[tuple[object, ...], Happening]]) -> Iterator[Happening]:
        for key, happening in told:
            if key not in self._told:
                self._told.add(key)
                yield happening

    def _messages(self) -> Iterator[Happening]:
        names = {uid: name for name, uid in self.uids.items()}
        for path in sorted(set(self.centre.sent.iterdir()) - self._read):
            self._read.add(path)
            yield from _mail(path, names)


def _mail(path: Path, names: dict[str, str]) -> Iterator[Happening]:
    """Tell a mail's messages; the hundreds of failed commands of one failure are told as one."""
    commands: dict[str, list[MonitoringMessage]] = {}
    for line in mailfiles.read([path]):
        try:
            message = decode_line(line.raw)
        except DecodeError:
            continue
        name = names.get(message.simulation_uid or "")
        if name is None:
            continue
        if message.meaning is Meaning.COMMAND_FAILED:
            commands.setdefault(name, []).append(message)
        else:
            yield _heard(message, name, _words(message))
    for name, same in commands.items():
        times = f", {len(same)} times" if len(same) > 1 else ""
        yield _heard(same[0], name, f"{same[0].code}: a command failed{times}")


def _heard(message: MonitoringMessage, name: str, text: str) -> Happening:
    milestone = message.meaning in _MILESTONES
    return Happening(
        at=message.emitted_at, name=name, who="message", text=text, milestone=milestone
    )


_MILESTONES: Final = (Meaning.SIMULATION_START, Meaning.FATAL, Meaning.SIMULATION_END)
_MEANINGS: Final = {
    Meaning.SIMULATION_START: "the simulation begins",
    Meaning.COMPUTE_START: "a job begins",
    Meaning.COMPUTE_END: "the job ended well",
    Meaning.SIMULATION_END: "the simulation is complete",
    Meaning.FATAL: "stopped by an error",
}


def _words(message: MonitoringMessage) -> str:
    if message.meaning is Meaning.PERIOD_START:
        return f"{message.code}: period {period_of(message.fields)} begins"
    return f"{message.code}: {_MEANINGS.get(message.meaning, message.meaning)}"


def _decisions(scene: Scene) -> Iterator[tuple[tuple[object, ...], Happening]]:
    for each in scene.decisions:
        if each.verdict is not None and each.decided_at is not None:
            yield (
                (each.decision_id, each.verdict, each.sentence),
                Happening(
                    at=each.decided_at,
                    name=scene.role.name,
                    who="policy",
                    text=f"{each.kind}: {each.verdict}, by the rule {each.rule}: {each.sentence}",
                    milestone=each.verdict in {VerdictKind.SUPERVISE, VerdictKind.REFUSE},
                ),
            )


def _steps(scene: Scene) -> Iterator[tuple[tuple[object, ...], Happening]]:
    for row, steps in scene.supervisions:
        for number, step in enumerate(steps):
            if step.source is None:
                continue  # the decision has said so
            reason = f": {step.reason}" if step.reason else ""
            happening = Happening(
                at=step.at,
                name=scene.role.name,
                who="service",
                text=f"{step.source} -> {step.target}{reason}",
                milestone=is_restart(step),
            )
            if is_restart(step):
                for order, said in enumerate(_said_by_script(row)):
                    told = replace(happening, who="agent", text=said, milestone=False)
                    yield (row.id, number, order), told
            yield (row.id, number), happening


def _said_by_script(row: Supervision) -> list[str]:
    """Pick, from what the script said, what it saw and what it did."""
    told = ("run.card:", "to be deleted:", "submitted:", "acted:")
    lines = [line for line in (row.output_tail or "").splitlines() if line.startswith(told)]
    return [_without_folder(line) for line in lines]


def _without_folder(line: str) -> str:
    """Name files without their folders: the paths of a centre fill a screen."""
    return " ".join(
        word.rpartition("/")[2] if word.startswith("/") else word for word in line.split()
    )
