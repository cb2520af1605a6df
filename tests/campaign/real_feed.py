"""Feeds the campaign: makes simulations fail, and plays the life of the jobs that are restarted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from threading import Event, Thread
from time import monotonic, time
from typing import Final

from supervision.sandbox import cards
from tests.campaign.real_centre import FAILED_PERIOD, Campus
from tests.campaign.real_mailbox import Mailbox, letter
from tests.campaign.real_plan import Fault, Kind
from tests.campaign.real_stories import Story, tell

_LOOK_SECONDS: Final = 0.2
_RUN_SECONDS: Final = 30.0
"""Longer than anybody needs to look whether a restart is there, as jobs are in life."""

_HELD_SECONDS: Final = (1.0, 8.0)


class Feed:
    """Everything that the simulations say; `stories` are those that were begun, by their name."""

    def __init__(self, mailbox: Mailbox, campuses: tuple[Campus, ...], seed: int) -> None:
        self._mailbox = mailbox
        self._campuses = campuses
        self._chance = Random(seed)  # noqa: S311 a plan is to be repeated
        self._done = Event()
        self._running: dict[tuple[str, str], float] = {}
        self._restarted: dict[Story, float] = {}
        self.stories: dict[str, Story] = {}
        self._thread = Thread(target=self._live, name="centres")
        self._thread.start()

    @property
    def behind(self) -> int:
        """How many restarts the centres still wait for."""
        due = sum(story.restarts for story in list(self.stories.values()))
        return due - len(self._restarted)

    def close(self) -> None:
        """Let nothing more happen at the centres."""
        self._done.set()
        self._thread.join()

    def begin(self, fault: Fault) -> None:
        """Have the simulations fail that come with a fault, which may mix up what they say.

        A fault that is about messages mixes up one simulation more.
        """
        mixed = int(fault.kind in {Kind.SHUFFLED, Kind.HELD_BACK})
        for number in range(fault.simulations + mixed):
            chosen = number >= fault.simulations
            self._begin(fault if chosen else None)

    def _begin(self, fault: Fault | None) -> None:
        campus = self._chance.choice(self._campuses)
        story = tell(len(self.stories) + 1, campus, self._chance)
        self.stories[story.name] = story
        letters = [letter(each) for each in story.messages]
        if fault is not None and fault.kind is Kind.SHUFFLED:
            fault.choices().shuffle(letters)
        if fault is not None and fault.kind is Kind.HELD_BACK:
            chance = fault.choices()
            until = monotonic() + chance.uniform(*_HELD_SECONDS)
            late = chance.sample(range(len(story.messages)), len(story.messages) // 2)
            letters = [
                letter(each, due=until if number in late else 0.0)
                for number, each in enumerate(story.messages)
            ]
        self._mailbox.post(letters)

    def slowest(self, confirmed: Mapping[str, float]) -> float:
        """Tell the longest time from the last word of a failure to its restart, in seconds."""
        waits = [
            at - max(confirmed.get(each["msgUID"], 0.0) for each in story.messages)
            for story, at in self._restarted.items()
        ]
        return max(waits, default=0.0)

    def _live(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            for campus in self._campuses:
                self._move(campus, campus.jobs())

    def _move(self, campus: Campus, jobs: Iterable[tuple[str, str, str]]) -> None:
        """Have queued jobs start, and running ones end their simulation."""
        for number, name, state in list(jobs):
            story = self.stories.get(name)
            if story is None or number in story.known:
                continue
            key = campus.site, number
            if state == "queued":
                self._start(story, number)
                self._running[key] = monotonic() + _RUN_SECONDS
            elif key in self._running and self._running[key] < monotonic():
                del self._running[key]
                self._complete(story, number)

    def _start(self, story: Story, number: str) -> None:
        self._restarted.setdefault(story, time())
        story.campus.end_job(number, story.name, state="running")
        story.campus.write_card(story.name, story.simulation_uid, cards.RUNNING)
        story.teller.next_job()
        said = [story.teller.start(number), *story.teller.period(FAILED_PERIOD)]
        self._mailbox.post(map(letter, said))

    def _complete(self, story: Story, number: str) -> None:
        story.campus.write_card(story.name, story.simulation_uid, cards.COMPLETED)
        story.campus.end_job(number, story.name, state="ended", reason="completed")
        said = [*story.teller.period(4), story.teller.say("0100"), story.teller.say("1100")]
        self._mailbox.post(map(letter, said))
