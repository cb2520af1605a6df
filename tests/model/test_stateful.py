"""Random stories told to the whole service: whatever comes, in whatever order, the laws hold.

Hypothesis chooses; its choices are the same in every run. After each step every law of
`tests/virtual/laws.py` is asked, and every verdict is decided again from what it rested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from supervision.facts import Answer, EndReason, ExitCode, Hold, Order, Sight
from supervision.fsm.engine.commanding import Person
from supervision.fsm.states import Event
from supervision.messages import MonitoringMessage
from tests.unit.engine_kit import MINUTE, message
from tests.virtual import laws
from tests.virtual.centre import Directory
from tests.virtual.gates import FAULTS, INSIDE, Gate
from tests.virtual.process import Process
from tests.virtual.story import announced, began, fatal, finished, says
from tests.virtual.world import World

_PERSON: Final = Person(actor="alice", reason="the story wants it")
_ORDERS: Final = (Event.CANCEL, *(event for event in Event if event.startswith("force_")))
_ODD: Final = ("0000", "1000", "1001", "1100", "1900", "2000", "2100", "2999", "3999", "7000")
_CHAINS: Final = 2
_GATES: Final = 40


class Story(RuleBasedStateMachine):
    """The service, two simulations, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(3)
        self.places: list[Directory] = []
        self.told: list[MonitoringMessage] = []
        self.forbidden: list[str] = []
        self._submit = self.world.centre.submit
        self.world.centre.submit = self._watched  # type: ignore[method-assign]

    @initialize()
    def two_simulations_run(self) -> None:
        """Each has a job that works on its period."""
        for number in range(_CHAINS):
            place = self.world.chain(number, period=4 + number)
            self.places.append(place)
            self._tell(*announced(self.world, place, number))
        self._drain(self.world.processes[0])

    @rule(which=st.integers(0, _CHAINS - 1), minutes=st.integers(0, 20))
    def a_job_fails(self, which: int, minutes: int) -> None:
        """The job that runs fails, and says so, perhaps late."""
        place = self.places[which]
        if place.alive and place.alive[0].sight is Sight.RUNNING:
            at = self.world.clock.now() - minutes * MINUTE
            self._tell(*fatal(place, place.alive[0], at))

    @rule(which=st.integers(0, _CHAINS - 1))
    def a_job_is_killed_unheard(self, which: int) -> None:
        """The scheduler kills it; nothing is said."""
        place = self.places[which]
        if place.alive:
            place.alive[0].end(EndReason.TIMEOUT, self.world.clock.now())

    @rule(which=st.integers(0, _CHAINS - 1))
    def the_next_job_starts(self, which: int) -> None:
        """What was queued, by us or by its owner, runs."""
        place = self.places[which]
        if place.alive and place.alive[0].sight is Sight.QUEUED:
            place.period += 1
            job, now = place.alive[0], self.world.clock.now()
            self._tell(
                began(place, job, now), says(place, "1001", now, job, CumulPeriod=str(place.period))
            )

    @rule(which=st.integers(0, _CHAINS - 1), how=st.sampled_from(["0100", "8888", "restart"]))
    def its_owner_acts_or_it_ends(self, which: int, how: str) -> None:
        """It is complete, or deleted, or its owner restarts it by hand."""
        place, now = self.places[which], self.world.clock.now()
        if how == "restart" and not place.alive:
            self.world.centre.submit_job(place, ours=False)
        elif how == "0100" and place.alive:
            self._tell(*finished(place, place.alive[0], now))
        elif how == "8888":
            self._tell(says(place, "8888", now, place.jobs[-1]))

    @rule(
        code=st.sampled_from(_ODD),
        which=st.integers(0, _CHAINS - 1),
        back=st.integers(-90, 600),
        newest=st.booleans(),
    )
    def something_odd_is_said(self, code: str, which: int, back: int, newest: bool) -> None:  # noqa: FBT001
        """Any message of any job, with any time, fitting or not."""
        place = self.places[which]
        job = place.jobs[-1 if newest else 0]
        at = self.world.clock.now() - back * MINUTE
        said = message(code, at=at, job=job.uid, simulation=place.simulation)
        self._tell(said)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def something_is_said_again(self, data: st.DataObject) -> None:
        """Mails come twice."""
        self._tell(data.draw(st.sampled_from(self.told)))

    @rule(seconds=st.integers(0, 3 * 24 * 3600))
    def time_passes(self, seconds: int) -> None:
        """However long, nobody does anything."""
        self.world.clock.advance(timedelta(seconds=seconds))

    @rule(seconds=st.integers(-300, 300))
    def the_clock_is_stepped(self, seconds: int) -> None:
        """Forwards or backwards."""
        self.world.clock.advance(timedelta(seconds=seconds))

    @rule()
    def time_passes_to_the_next_alarm(self) -> None:
        """What waits for its time has it now, and the sweeper sees that."""
        self.world.to_next_alarm()
        process = self.world.processes[0]
        process.begin(process.see_to_alarms)
        process.finish()
        self._drain(process)

    @precondition(lambda self: self.world.busy())
    @rule(data=st.data(), limit=st.sampled_from([1, 200]))
    def a_queue_is_worked_on(self, data: st.DataObject, limit: int) -> None:
        """One consumer takes what is there."""
        process = self.world.processes[0]
        process.consume(data.draw(st.sampled_from(self.world.busy())), limit=limit)
        process.finish()

    @precondition(lambda self: self.world.busy())
    @rule(data=st.data(), gate=st.integers(0, _GATES), dies=st.booleans())
    def a_worker_meets_a_fault(self, data: st.DataObject, gate: int, dies: bool) -> None:  # noqa: FBT001
        """It dies, or is refused something, at a gate on its way."""
        process = self.world.processes[0]
        process.consume(data.draw(st.sampled_from(self.world.busy())))
        for _ in range(gate):
            if process.at is not None:
                process.go()
        self._meet(process, dies=dies)

    def _meet(self, process: Process, *, dies: bool) -> None:
        faults = FAULTS[process.at] if process.at is not None else ()
        if dies:
            process.kill()
        elif faults:
            process.go(faults[0][1]())
        process.finish()

    @precondition(lambda self: self.world.busy())
    @rule(data=st.data(), gate=st.integers(0, _GATES))
    def an_old_worker_goes_on_after_another_one(self, data: st.DataObject, gate: int) -> None:
        """It stands still beyond its lease, others do its work, and then it goes on."""
        old, other = self.world.processes
        old.consume(data.draw(st.sampled_from(self.world.busy())))
        for _ in range(gate):
            if old.at is not None:
                old.go()
        while old.at in INSIDE:
            old.go()
        self.world.clock.advance(self.world.settings.engine.lease * 2)
        other.begin(other.see_to_alarms)
        other.finish()
        self._drain(other)
        old.finish()

    @rule(data=st.data(), event=st.sampled_from(_ORDERS))
    def a_person_orders(self, data: st.DataObject, event: Event) -> None:
        """Any order about any row; that it is refused is fine."""
        rows = self.world.sql("SELECT id FROM tbl_simulation_supervision ORDER BY job_uid")
        if rows:
            process, name = self.world.processes[0], data.draw(st.sampled_from(rows))["id"]
            process.begin(partial(process.engine.order, event, name, _PERSON))
            self._waited(process)

    @rule(which=st.integers(0, _CHAINS - 1))
    def a_person_retries(self, which: int) -> None:
        """The newest job that failed."""
        process, job = self.world.processes[0], self.places[which].jobs[-1]
        process.begin(partial(process.engine.retry, job.uid, _PERSON))
        self._waited(process)

    def _waited(self, process: Process) -> None:
        """An order waits for a lease: time goes on while it does."""
        while process.at is not None:
            if process.at is Gate.BEGIN:
                self.world.clock.advance(MINUTE)
            process.go()

    @rule(which=st.integers(0, _CHAINS - 1), on=st.booleans())
    def a_hold_is_placed_or_released(self, which: int, on: bool) -> None:  # noqa: FBT001
        """Somebody says stop, or go on."""
        scope = f"simulation:{self.places[which].simulation}"
        hold = Hold(scope=scope, actor="alice", reason="quiet", since=self.world.clock.now())
        if on:
            self.world.outside.record_hold(hold)
        else:
            self.world.outside.record_release(scope)

    @rule(code=st.sampled_from(laws.TROUBLES))
    def the_next_script_fails(self, code: ExitCode) -> None:
        """It is not yet possible, or it breaks, or it declines."""
        self.world.centre.troubles.append(code)

    @rule()
    def the_runners_are_killed(self) -> None:
        """Whatever script runs is gone."""
        self.world.centre.kill_runners()

    @rule()
    def every_hint_is_lost(self) -> None:
        """The broker begins anew; facts are kept."""
        self.world.broker.wipe()

    @invariant()
    def the_laws_hold(self) -> None:
        """After every step."""
        assert [] == laws.broken(self.world, replayed=True)

    @invariant()
    def nothing_is_sent_that_was_stopped(self) -> None:
        """No script leaves for a simulation that is deleted, complete or on hold, as we know."""
        assert [] == self.forbidden

    def teardown(self) -> None:
        """Let the world go."""
        self.world.close()

    def _watched(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        for order in orders:
            query = _STOPPED.format(key=order.key.supervision_id)
            self.forbidden += [str(row) for row in self.world.sql(query)]
        return self._submit(site, login, orders)

    def _tell(self, *messages: MonitoringMessage) -> None:
        self.told += messages
        self.world.tell(*messages)

    def _drain(self, process: Process) -> None:
        while queues := self.world.busy():
            process.consume(queues[0])
            process.finish()


_STOPPED: Final = """
SELECT s.id, m.deleted_at, m.complete_at, h.scope FROM tbl_simulation_supervision s
  JOIN tbl_simulation m ON m.uid = s.simulation_uid
  LEFT JOIN tbl_hold h ON h.scope = 'simulation:' || s.simulation_uid
 WHERE s.id = '{key}' AND (h.scope IS NOT NULL
    OR m.deleted_at > m.last_start_at OR m.complete_at > m.last_start_at)
"""

Story.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestEveryStory = Story.TestCase
