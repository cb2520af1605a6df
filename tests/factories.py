"""Facts and settings for tests: a failed compute job that is helped at level 2, unless told else.

`Factory.build(field=..., part__field=...)` gives a frozen value; NOW is the moment of every test.
"""
# ruff: noqa: D106  factory_boy wants a class Meta, which only names what is made

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from factory.base import Factory
from factory.declarations import SubFactory

from supervision.facts import (
    DecisionFacts,
    EndReason,
    Handling,
    JobFacts,
    JobKind,
    Level,
    Look,
    Mode,
    Place,
    Policy,
    RunCard,
    Sight,
    SimulationFacts,
    SitePolicy,
    Trigger,
    TriggerKind,
    UserPolicy,
)
from supervision.fsm.states import State

NOW: Final = datetime(2015, 3, 18, 12, tzinfo=UTC)
JOB: Final = "3195c4c1-2278-4fd3-9c97-19091a26e3b6"
OTHER_JOB: Final = "b32bb970-c762-4e05-b27a-f0b91222d5b6"
SIMULATION: Final = "71105649-17e8-491a-8f8f-4ee26a22524d"
OTHER_SIMULATION: Final = "6d773248-70eb-4a49-8ede-2590b18b68f3"
SUPERVISION: Final = "5f4dcc3b-5aa7-4d1c-9d5e-0c9c8e3a1f27"
DIRECTORY: Final = "/ccc/work/p86user1/modipsl/config/IPSLCM6/CPL01"
PLACE: Final = Place(site="curie", login="p86user1", directory=DIRECTORY)

_part: Final[Callable[[type[object]], object]] = SubFactory
"""SubFactory, given the type that its own source does not declare."""


def ago(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
    """Tell the moment so long before NOW; negative spans lie ahead of it."""
    return NOW - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class TriggerFactory(Factory[Trigger]):
    """A fatal, 20 minutes old, heard of a minute later."""

    class Meta:
        model = Trigger

    kind = TriggerKind.FATAL
    at = ago(minutes=20)
    first_at = ago(minutes=20)
    arrived_at = ago(minutes=19)


class JobFactsFactory(Factory[JobFacts]):
    """A compute job that began four hours ago and is in its 7th period."""

    class Meta:
        model = JobFacts

    uid = JOB
    simulation_uid = SIMULATION
    kind = JobKind.COMPUTE
    directory = DIRECTORY
    scheduler_id = "41234"
    first_at = ago(hours=4)
    started_at = ago(hours=4)
    period = 7


class SimulationFactsFactory(Factory[SimulationFacts]):
    """A simulation on curie, announced ten days ago; its last start is that of the job."""

    class Meta:
        model = SimulationFacts

    uid = SIMULATION
    name = "CPL01"
    login = "p86user1"
    centre = "TGCC"
    machine = "curie"
    space = "PROD"
    model = "IPSLCM6"
    experiment = "piControl"
    directory = DIRECTORY
    announced_at = ago(days=10)
    last_start_at = ago(hours=4)


class SitePolicyFactory(Factory[SitePolicy]):
    """A site where the service may act."""

    class Meta:
        model = SitePolicy

    name = "curie"
    centres = ("TGCC", "CCRT")
    machines = ("curie*",)
    mode = Mode.ACT


class UserPolicyFactory(Factory[UserPolicy]):
    """A user who wants to be helped without being asked."""

    class Meta:
        model = UserPolicy

    login = "p86user1"
    level = Level.AUTOMATIC
    mail_to = "p86user1@example.org"


class PolicyFactory(Factory[Policy]):
    """One site, one user, every other value as it is by default."""

    class Meta:
        model = Policy

    digest = "0" * 64
    sites = (SitePolicyFactory.build(),)
    users = (UserPolicyFactory.build(),)


class RunCardFactory(Factory[RunCard]):
    """The simulation's own run.card, as a killed job leaves it."""

    class Meta:
        model = RunCard

    simulation_uid = SIMULATION
    state = "Running"
    period = 7
    begin = "18500701"


class LookFactory(Factory[Look]):
    """A look of now that found the job ended by its time limit, and no other one."""

    class Meta:
        model = Look

    at = NOW
    sight = Sight.ENDED
    reason = EndReason.TIMEOUT
    scheduler_alive = True
    others = False
    run_card = RunCardFactory.build()


class HandlingFactory(Factory[Handling]):
    """A supervision of the job that is on its way at level 2, about a fatal."""

    class Meta:
        model = Handling

    id = SUPERVISION
    state = State.DETECTED
    level = Level.AUTOMATIC
    acted_on = TriggerKind.FATAL
    attempt = 1


class DecisionFactsFactory(Factory[DecisionFacts]):
    """A fatal that nothing speaks against."""

    class Meta:
        model = DecisionFacts

    trigger = _part(TriggerFactory)
    job = _part(JobFactsFactory)
    simulation = _part(SimulationFactsFactory)
