"""The desk at which actions work: facts read now, the caps' lock, mail, alarms' arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from db import (
    dao_credentials,
    dao_decisions,
    dao_facts,
    dao_history,
    dao_holds,
    dao_monitoring,
    dao_supervision,
)
from supervision import policy as rules
from supervision.facts import (
    DecisionFacts,
    EndReason,
    EngineSettings,
    JobFacts,
    JobKind,
    Mail,
    Place,
    Policy,
    ScriptFacts,
    SimulationFacts,
    Supervision,
    Trigger,
    Verdict,
)
from supervision.fsm.engine.caps import Room
from supervision.fsm.engine.gathering import gather_acting
from supervision.fsm.engine.letters import Letter, has_reader, mails_of
from supervision.fsm.engine.picking import trigger_of
from supervision.fsm.engine.telling import send
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import Notice, Report
from supervision.ports import Transport
from supervision.replay import dump_looks


class EngineDesk:
    """The Desk of outcomes.py, made anew for each set: one set sees one policy.

    `now`: the database's time, where it has just been read; it is asked for otherwise.
    """

    def __init__(self, tools: Tools, now: datetime | None = None) -> None:
        clock = tools.ports.clock
        self._tools = tools
        self._policy = tools.policy
        self._skew = tools.database.skew(clock) if now is None else now - clock.now()

    @property
    def policy(self) -> Policy:
        """The policy of this set."""
        return self._policy

    @property
    def transport(self) -> Transport:
        """The way to the centres."""
        return self._tools.ports.transport

    @property
    def settings(self) -> EngineSettings:
        """Leases, deadlines and back-offs."""
        return self._tools.settings

    def now(self) -> datetime:
        """The database's time, carried on by our own clock while the set is worked on."""
        return self._tools.ports.clock.now() + self._skew

    def backoff(self, count: int, first: timedelta, cap: timedelta) -> datetime:
        """The moment to come back at."""
        return self._tools.backoff(self.now(), count, first, cap)

    def facts(self, rows: Sequence[Supervision]) -> dict[str, DecisionFacts]:
        """Read what is known now about these rows."""
        with self._tools.database.read() as session:
            return gather_acting(session, rows, self._policy, self._tools.database.now(session))

    def simulations(self, rows: Sequence[Supervision]) -> dict[str, SimulationFacts]:
        """Read what is known now of these rows' simulations."""
        with self._tools.database.read() as session:
            return dao_monitoring.simulations(session, {row.simulation_uid for row in rows})

    def brakes(
        self, rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts]
    ) -> dict[str, Verdict]:
        """Tell which rows nothing may be asked about now, by the place that is frozen on them."""
        with self._tools.database.read() as session:
            holds = dao_holds.all_holds(session)
            expiries = dao_credentials.expiries(session, [(row.site, row.login) for row in rows])
            now = self._tools.database.now(session)
        found = {}
        for row in rows:
            trigger = Trigger(kind=row.trigger, at=now, first_at=now, arrived_at=now)
            facts = DecisionFacts(
                trigger=trigger,
                job=JobFacts(uid=row.job_uid, simulation_uid=row.simulation_uid),
                simulation=simulations[row.simulation_uid],
                holds=holds,
                credential_expires_at=expiries.get((row.site, row.login)),
            )
            place = Place(site=row.site, login=row.login, directory=row.directory)
            stop = rules.braked(facts, self._policy, now, place=place)
            if stop is not None:
                found[row.id] = stop
        return found

    def due(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """Tell before which moment each row must not be dispatched."""
        with self._tools.database.read() as session:
            decisions = dao_decisions.of_ids(
                session, [r.decision_id for r in rows if r.decision_id]
            )
        return {
            row.id: rules.act_not_before(
                trigger_of(decisions[row.decision_id]), self._policy, level=row.level
            )
            for row in rows
            if row.decision_id in decisions
        }

    def with_scripts(self, rows: Sequence[Supervision]) -> list[Supervision]:
        """Read the scripts of these rows."""
        with self._tools.database.read() as session:
            return dao_supervision.with_scripts(session, rows)

    def script_facts(self, rows: Sequence[Supervision]) -> dict[str, ScriptFacts]:
        """Read what their scripts are built from."""
        uids = {row.simulation_uid for row in rows}
        with self._tools.database.read() as session:
            jobs = dao_monitoring.jobs(session, [row.job_uid for row in rows])
            simulations = dao_monitoring.simulations(session, uids)
            restarted = dao_facts.restarted_periods(session, uids)
            work = dao_facts.open_work(session, uids)
        open_post = {row.simulation_uid for row in work if row.kind == JobKind.POST_PROCESSING}
        return {
            row.id: _script_facts(
                row,
                name=simulations[row.simulation_uid].name or "",
                job=jobs.get(row.job_uid),
                restarted=restarted.get(row.simulation_uid, []),
                post_failures=row.simulation_uid in open_post,
            )
            for row in rows
        }

    def admit(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """Raise dispatch_try_count of the rows that the caps have room for, oldest first."""
        admitted: dict[str, datetime] = {}
        for site in sorted({row.site for row in rows}):
            mine = sorted((r for r in rows if r.site == site), key=lambda r: (r.created_at, r.id))
            admitted.update(self._admit_site(site, mine))
        return admitted

    def _admit_site(self, site: str, rows: Sequence[Supervision]) -> dict[str, datetime]:
        with self._tools.database.write() as session:
            dao_holds.lock_site(session, site)
            now = self._tools.database.now(session)
            longest = max(
                self._policy.site_cap.window,
                self._policy.simulation_cap.window,
                self._policy.user_cap.window,
            )
            begun = dao_history.restarts_at(session, [site], now - longest)
            counted = {(each.supervision_id, each.attempt) for each in begun}
            room = Room(self._policy, now)
            for each in begun:
                room.take(each.simulation_uid, each.login, each.at)
            chosen = [
                row
                for row in rows
                if (row.id, row.attempt) in counted or room.has(row.simulation_uid, row.login, now)
            ]
            raised = dao_supervision.raise_tries(session, chosen, now)
            dao_history.begin_restarts(
                session,
                [_restart(row, now) for row in chosen if row.id in raised],
            )
            return raised

    def keep_looks(self, facts: Mapping[str, DecisionFacts]) -> None:
        """Store looks with these supervisions' decisions; what run.card told, with the job."""
        with self._tools.database.write() as session:
            rows = dao_supervision.of_ids(session, facts)
            looks = {
                row.decision_id: dump_looks(facts[name].looks)
                for name, row in rows.items()
                if row.decision_id
            }
            dao_decisions.store_looks(session, looks)
            dao_monitoring.store_seen_periods(session, seen_periods(facts.values()))

    def tell(
        self, notice: Notice, row: Supervision, sentence: str, *, report: Report | None = None
    ) -> bool:
        """Write to whom the notice concerns; nothing is read where that is nobody."""
        if not has_reader(notice, row, self._policy, self._tools.addresses):
            return False
        with self._tools.database.read() as session:
            simulation = dao_monitoring.simulations(session, [row.simulation_uid])
            decision = dao_decisions.of_ids(session, [row.decision_id or ""]).get(
                row.decision_id or ""
            )
            if notice is Notice.SCRIPT:
                row = dao_supervision.with_scripts(session, [row])[0]
        letter = Letter(
            notice=notice,
            row=row,
            sentence=sentence,
            report=report or {},
            seen=decision.sentence if decision else None,
            at=decision.last_at if decision else None,
            simulation_name=simulation[row.simulation_uid].name or row.simulation_uid,
        )
        return self.send(mails_of(letter, self._policy, self._tools.addresses))

    def send(self, mails: Sequence[Mail]) -> bool:
        """Send mails; False where there are none. See `telling.send`."""
        return send(self._tools, mails)


def _restart(row: Supervision, now: datetime) -> dict[str, object]:
    return {
        "supervision_id": row.id,
        "attempt": row.attempt,
        "site": row.site,
        "login": row.login,
        "simulation_uid": row.simulation_uid,
        "at": now,
    }


def seen_periods(facts: Iterable[DecisionFacts]) -> list[dict[str, object]]:
    """The period that run.card showed, for a chain's last job whose messages told none."""
    rows = {}
    for each in facts:
        seen = each.looks[-1] if each.looks else None
        card = seen.run_card if seen else None
        if seen is None or card is None or card.simulation_uid != each.simulation.uid:
            continue
        moved_on = seen.reason is EndReason.COMPLETED or seen.others
        if card.period is not None and each.job.period is None and not moved_on:
            rows[each.job.uid] = {"uid": each.job.uid, "period": card.period}
    return [rows[uid] for uid in sorted(rows)]


def _script_facts(
    row: Supervision,
    *,
    name: str,
    job: JobFacts | None,
    restarted: Sequence[tuple[str, int]],
    post_failures: bool,
) -> ScriptFacts:
    others = [period for job_uid, period in restarted if job_uid != row.job_uid]
    return ScriptFacts(
        supervision_id=row.id,
        attempt=row.attempt,
        kind=row.kind,
        trigger=row.trigger,
        simulation_uid=row.simulation_uid,
        job_uid=row.job_uid,
        job_name=name,
        login=row.login,
        directory=row.directory,
        scheduler_id=job.scheduler_id if job else None,
        task=job.task if job else None,
        restarted_period=others[-1] if others and not row.by_person else None,
        post_failures=post_failures,
        submit_only=row.submit_only,
    )
