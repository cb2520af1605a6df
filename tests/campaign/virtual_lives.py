"""The lives of the simulations in the virtual campaign: they run, fail, fall silent, go on, end.

Messages leave with the delays of mail, so they overtake each other; none is ever lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from supervision.facts import EndReason, Sight
from supervision.messages import MonitoringMessage
from tests.factories import NOW
from tests.unit.engine_kit import DAY, HOUR, MINUTE
from tests.virtual.centre import Directory, Job
from tests.virtual.story import announced, began, fatal, finished, says
from tests.virtual.world import World


@dataclass(kw_only=True)
class Life:
    """One simulation: when something happens to it next. `failed`: jobs whose end was bad."""

    place: Directory
    next_at: datetime
    failed: list[str] = field(default_factory=list)
    over: bool = False


class Lives:
    """Every simulation of a world; `calm` lets them all come to good ends."""

    def __init__(self, world: World, chance: Random, *, count: int) -> None:
        self.all: list[Life] = []
        self.calm = False
        self._world = world
        self._chance = chance
        self._post: list[tuple[datetime, MonitoringMessage]] = []
        self._count = count
        self.refill()

    def refill(self) -> None:
        """Begin new simulations in the place of those that are over."""
        living = sum(not life.over for life in self.all)
        for _ in range(self._count - living):
            number = len(self.all)
            place = self._world.chain(number, period=self._chance.randint(2, 9))
            self._mail(announced(self._world, place, number), at_once=True)
            self.all.append(Life(place=place, next_at=self._soon(1, 60)))

    def next_at(self) -> datetime:
        """Tell when something happens next to any of them."""
        lives = [life.next_at for life in self.all if not life.over]
        return min([*lives, *(at for at, _ in self._post)], default=self._world.clock.now() + DAY)

    def live(self) -> None:
        """Do what is due; deliver the mail that is due."""
        now = self._world.clock.now()
        for life in self.all:
            if not life.over and life.next_at <= now:
                self._go_on(life, now)
        due = [message for at, message in self._post if at <= now]
        self._post = [pair for pair in self._post if pair[0] > now]
        if due:
            self._world.tell(*due)

    def _go_on(self, life: Life, now: datetime) -> None:
        alive = life.place.alive
        life.next_at = self._soon(5, 90)
        if not alive:
            self._abandoned(life, now)
        elif alive[0].sight is Sight.QUEUED:
            self._begin(life, alive[0], now)
        else:
            self._meet(life, alive[0], now)

    def _begin(self, life: Life, job: Job, now: datetime) -> None:
        place = life.place
        place.state = "Running"
        place.period += self._chance.choice((0, 1, 1, 1))
        period = says(place, "1001", now + MINUTE, job, CumulPeriod=str(place.period))
        self._mail([began(place, job, now), period])

    def _meet(self, life: Life, job: Job, now: datetime) -> None:
        """A job that runs comes to an end: a good one in times of calm."""
        end = 1.0 if self.calm else self._chance.random()
        if end < _FATAL:
            life.failed.append(job.uid)
            self._mail(fatal(life.place, job, now))
        elif end < _SILENT:  # killed by the scheduler: nothing is sent, and run.card stays
            life.failed.append(job.uid)
            job.end(EndReason.TIMEOUT, now)
        elif end < _DELETED:
            job.end(EndReason.CANCELLED, now)
            life.place.state = "Completed"
            self._mail([says(life.place, "8888", now, job)])
        else:
            self._mail(finished(life.place, job, now))

    def _abandoned(self, life: Life, now: datetime) -> None:
        """No job is there: it is over, or helped, or after some days its owner helps."""
        newest = life.place.jobs[-1]
        if life.place.state == "Completed":
            life.over = True
        elif now - newest.since > 3 * DAY and not self.calm:
            self._world.centre.submit_job(life.place, ours=False)
        elif now - newest.since > 9 * DAY:
            life.over = True
        else:
            life.next_at = now + self._chance.randint(1, 6) * HOUR

    def _mail(self, messages: list[MonitoringMessage], *, at_once: bool = False) -> None:
        for each in messages:
            delay = timedelta(0) if at_once else _ROUND * self._chance.randint(0, 3)
            self._post.append((_rounded(self._world.clock.now() + delay), each))

    def _soon(self, first: int, last: int) -> datetime:
        return _rounded(self._world.clock.now() + self._chance.randint(first, last) * MINUTE)


def _rounded(at: datetime) -> datetime:
    """Things happen every five minutes, many at once, as mails come: in sets."""
    return at + (_ROUND - (at - NOW) % _ROUND) % _ROUND


_ROUND = 5 * MINUTE


_FATAL = 0.55
_SILENT = 0.68
_DELETED = 0.72
