"""What a simulation of the sandbox is to suffer, and which of it has happened already."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from supervision.errors import NotFound, Refused
from supervision.sandbox.centre import Centre, check_name
from supervision.sandbox.files import create_once, write_whole


class FaultKind(StrEnum):
    """How a period can go wrong."""

    ERROR = "error"  # fails once, loudly
    SILENT = "silent"  # its processes are killed; nothing is sent
    HANG = "hang"  # stands still past its warning delay
    NAN = "nan"  # fails loudly every time
    QUOTA = "quota"  # run.card ends empty, and the job fails
    CANCELLED = "cancelled"  # its owner cancels the job
    POST = "post"  # the period's post-processing job fails once
    STALLED = "stalled"  # the job ends well after it, and the next one is never submitted


class Generation(StrEnum):
    """Which numbering of codes the simulation speaks."""

    B = "B"
    C = "C"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that goes wrong, in one period (counted from 1)."""

    kind: FaultKind
    period: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One simulation: its identity, its length in periods, and what goes wrong on the way."""

    name: str
    uid: str
    periods: int
    faults: tuple[Fault, ...] = ()
    end_delayed: bool = False
    generation: Generation = Generation.C

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        check_name(self.name)
        if self.periods < 1:
            raise Refused(f"a simulation needs at least 1 period, not {self.periods}")
        beyond = [fault for fault in self.faults if not 1 <= fault.period <= self.periods]
        if beyond:
            raise Refused(
                f"{beyond[0].kind}:{beyond[0].period} is in none of the periods 1 to {self.periods}"
            )

    def fault(self, period: int, *kinds: FaultKind) -> Fault | None:
        """Tell the first of these faults that is planned for a period."""
        found = (fault for fault in self.faults if fault.period == period and fault.kind in kinds)
        return next(found, None)


def parse_fault(text: str) -> Fault:
    """Read `KIND:PERIOD`, such as error:3; Refused says what is allowed."""
    kind, _, period = text.partition(":")
    allowed = ", ".join(FaultKind)
    if kind not in list(FaultKind) or not period.isascii() or not period.isdigit():
        raise Refused(f"{text!r} is no fault: write KIND:PERIOD, where KIND is one of {allowed}")
    return Fault(kind=FaultKind(kind), period=int(period))


def _path(centre: Centre, name: str) -> Path:
    return centre.plans / f"{check_name(name)}.json"


def save(centre: Centre, plan: Plan) -> None:
    """Keep a plan; Refused when the centre has a simulation of this name."""
    path = _path(centre, plan.name)
    if path.exists():
        raise Refused(f"{plan.name} is there already; `sandbox rerun` restarts it")
    write_whole(path, json.dumps(asdict(plan), indent=2) + "\n")


def load(centre: Centre, name: str) -> Plan:
    """Read a plan back; NotFound offers the names that there are."""
    try:
        values = json.loads(_path(centre, name).read_text())
    except FileNotFoundError as error:
        there = ", ".join(names(centre)) or "none yet"
        raise NotFound(f"no simulation is called {name}; there are: {there}") from error
    values["faults"] = tuple(
        Fault(kind=FaultKind(fault["kind"]), period=fault["period"]) for fault in values["faults"]
    )
    values["generation"] = Generation(values["generation"])
    return Plan(**values)


def names(centre: Centre) -> list[str]:
    """List the simulations of a centre by name, in alphabetical order."""
    return sorted(path.stem for path in centre.plans.glob("*.json"))


def happens(centre: Centre, plan: Plan, fault: Fault) -> bool:
    """Whether the fault strikes now. Each strikes once, but `nan`, which strikes every time."""
    if fault.kind is FaultKind.NAN:
        return True
    return create_once(centre.plans / f"{plan.name}.{fault.kind}.{fault.period}.happened")


def first_birth(centre: Centre, plan: Plan) -> bool:
    """Whether the simulation is born now with the identity of its plan: true once.

    A simulation whose run.card was deleted is born again as somebody else, as under libIGCM.
    """
    return create_once(centre.plans / f"{plan.name}.born")
