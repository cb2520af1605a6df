"""Gathers what the audit judges: from the database itself, the centres' traces, the graveyards."""

from __future__ import annotations

from collections import Counter
from typing import Final

from supervision.fsm.states import state_of
from tests.campaign.real_audit import Evidence, Expected, Ledger, Row
from tests.campaign.real_faults import Faults
from tests.campaign.real_feed import Feed
from tests.campaign.real_mailbox import POISON
from tests.campaign.real_stories import Story, Tale
from tests.campaign.real_world import World
from tests.integration.end_to_end_kit import dead_letters

_ROWS: Final = """
    SELECT id, job_uid, dispatch_status, execution_status, attempt, cause,
           EXTRACT(EPOCH FROM wake_at - clock_timestamp()),
           (SELECT string_agg(event || ': ' || coalesce(reason, ''), ' / ' ORDER BY t.id)
            FROM tbl_supervision_transition AS t WHERE t.supervision_id = r.id)
    FROM tbl_simulation_supervision AS r
"""
_LEDGER: Final = """
    SELECT job_uid, kind, verdict, EXTRACT(EPOCH FROM wake_at - clock_timestamp())
    FROM tbl_supervision_decision
"""
FATALS: Final = ("1999", "9999")


class Witness:
    """Sees one campaign; dead letters that were taken once are remembered."""

    def __init__(self, world: World, feed: Feed, faults: Faults) -> None:
        self._world = world
        self._faults = faults
        self._feed = feed
        self._graves: list[str] = []

    def evidence(self) -> Evidence:
        """Gather everything now. Raises what psycopg2 and pika raise while a server is away."""
        self._graves += [
            f"{queue}: {reason}: {body.decode(errors='replace')[:300]}"
            for queue, reason, body in dead_letters(self._world.rabbit.url)
        ]
        recorded = {row[0] for row in self._world.ask("SELECT uid FROM tbl_message")}
        mailbox = self._world.mailbox
        stories = tuple(self._feed.stories.values())
        return Evidence(
            expected=tuple(self._expected(story) for story in stories),
            rows=tuple(self._rows()),
            ledger=tuple(
                Ledger(job_uid=job, kind=kind, verdict=verdict, alarm_seconds=_number(alarm))
                for job, kind, verdict, alarm in self._world.ask(_LEDGER)
            ),
            restarts=self._restarts(stories),
            executions=self._executions(),
            kills=self._faults.kills,
            unrecorded=tuple(sorted(set(mailbox.confirmed) - recorded)),
            buried=tuple(text for text in self._graves if POISON not in text),
            spared=tuple(
                text for text in mailbox.poison if not any(_marked(text, it) for it in self._graves)
            ),
        )

    def _expected(self, story: Story) -> Expected:
        fatal = any(
            each["msgCode"] in FATALS and each["msgUID"] in self._world.mailbox.confirmed
            for each in story.messages
        )
        return Expected(
            name=story.name,
            job_uid=story.job_uid,
            restarts=story.restarts,
            triggered=fatal or story.tale is Tale.SILENT,
        )

    def _rows(self) -> list[Row]:
        mails, rows = self._mails(), self._world.ask(_ROWS)
        return [
            Row(
                id=row_id,
                job_uid=job,
                state=state_of(dispatch, execution).value,
                attempt=attempt,
                alarm_seconds=_number(alarm),
                cause=cause,
                told=row_id in mails,
                history=history or "",
            )
            for row_id, job, dispatch, execution, attempt, cause, alarm, history in rows
        ]

    def _mails(self) -> str:
        """The heads of all mails: a mail's id names the supervision that it is about."""
        folder = self._world.folder / "mails" / "new"
        return "\n".join(path.read_text(errors="replace")[:2000] for path in folder.glob("*"))

    def _restarts(self, stories: tuple[Story, ...]) -> Counter[str]:
        known = {(story.name, number) for story in stories for number in story.known}
        jobs = [job for campus in self._world.campuses for job in campus.jobs()]
        return Counter(name for number, name, _ in jobs if (name, number) not in known)

    def _executions(self) -> Counter[str]:
        return sum((campus.executions() for campus in self._world.campuses), Counter())


def _marked(poison: str, grave: str) -> bool:
    """Whether a dead letter carries the mark of this poison."""
    start = poison.index(POISON)
    return poison[start : start + len(POISON) + 17].rstrip('"') in grave


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
