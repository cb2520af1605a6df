"""Which supervisions a command is about: options that name them by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from typing import Any, Final, cast

import click

from supervision.app import App
from supervision.cli import completion
from supervision.cli.common import F, uid, uid_of
from supervision.cli.lookup import job_of, simulation_of, supervision_of
from supervision.errors import NotFound, Refused
from supervision.facts import TriggerKind
from supervision.fsm.engine.reading import One, Show
from supervision.fsm.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """What supervisions have in common; what is None, empty or False says nothing."""

    states: tuple[State, ...] = ()
    site: str | None = None
    login: str | None = None
    trigger: str | None = None
    waiting: bool = False
    simulation: str | None = None

    @property
    def given(self) -> bool:
        """Whether it leaves anybody out."""
        return any(asdict(self).values())

    def query(self, made: App, *, limit: int | None) -> Show:
        """Ask for them, newest first; raises NotFound for a simulation that is none."""
        return Show(
            states=self.states,
            site=self.site,
            login=self.login,
            trigger=self.trigger,
            waiting=self.waiting,
            simulation_uid=None
            if self.simulation is None
            else simulation_of(made, self.simulation),
            limit=limit,
        )


_OPTIONS: Final = (
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in State]),
        help="Only those in this state; may be given again.",
    ),
    click.option(
        "--site", metavar="NAME", shell_complete=completion.sites, help="Only those at this site."
    ),
    click.option(
        "--login",
        metavar="NAME",
        shell_complete=completion.logins,
        help="Only those of this login.",
    ),
    click.option(
        "--trigger",
        type=click.Choice([kind.value for kind in TriggerKind]),
        help="Only those that this kind of failure began.",
    ),
    click.option("--waiting", is_flag=True, help="Only those that the service comes back to."),
    click.option(
        "--simulation",
        metavar="UID",
        callback=uid,
        shell_complete=completion.simulations,
        help="Only those of this simulation; a prefix will do.",
    ),
)
_NAMES: Final = ("site", "login", "trigger", "waiting", "simulation")


def filtered(command: F) -> F:
    """Give a command the options of a Filter, which it takes as `chosen`."""

    @wraps(command)
    def wrapped(*args: Any, states: Sequence[str], **options: Any) -> Any:  # noqa: ANN401
        named = {name: options.pop(name) for name in _NAMES}
        chosen = Filter(states=tuple(State(name) for name in states), **named)
        return command(*args, chosen=chosen, **options)

    made = cast("F", wrapped)
    for option in reversed(_OPTIONS):
        made = option(made)
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Whom:
    """Whom an order is about: ids as they were typed, or a filter."""

    targets: Sequence[str]
    chosen: Filter
    everything: bool

    def jobs(self, made: App, states: Sequence[State], *, supervised: bool) -> list[str]:
        """Find the uids of the jobs; a filter looks among `states` only.

        `supervised`: only jobs of which there is a supervision are meant. Raises NotFound where
        there is nobody, UsageError for neither or both ways of naming, and Refused where a filter
        leaves nobody out and --everything was not said.
        """
        if bool(self.targets) == self.chosen.given:
            raise click.UsageError("name ids, or give a filter such as --site: one of the two")
        if not self.targets:
            return self._filtered(made, states)
        typed = [uid_of(target) for target in self.targets]
        if not supervised:
            return list(dict.fromkeys(job_of(made, each) for each in typed))
        ids = dict.fromkeys(supervision_of(made, each) for each in typed)
        return [made.engine.read(One(supervision_id=each))[0].job_uid for each in ids]

    def _filtered(self, made: App, states: Sequence[State]) -> list[str]:
        wanted = [each for each in states if each in (self.chosen.states or states)]
        query = replace(self.chosen.query(made, limit=None), states=tuple(wanted))
        rows = made.engine.read(query) if wanted else []
        if not rows:
            raise NotFound("there is no supervision like that to which this can be done")
        one_more = Show(limit=len(rows) + 1)
        if not self.everything and 1 < len(rows) == len(made.engine.read(one_more)):
            raise Refused(
                f"these are all {len(rows)} supervisions that there are: "
                "add --everything if you mean it"
            )
        return [row.job_uid for row in rows]


def aimed(command: F) -> F:
    """Give a command ids and the options of a Filter, which it takes as `whom`."""

    @wraps(command)
    def wrapped(
        *args: Any,  # noqa: ANN401
        targets: Sequence[str],
        chosen: Filter,
        everything: bool,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        whom = Whom(targets=targets, chosen=chosen, everything=everything)
        return command(*args, whom=whom, **options)

    made = click.option(
        "--everything", is_flag=True, help="Also where the filter leaves nobody out."
    )(wrapped)
    made = filtered(made)
    named = click.argument(
        "targets", metavar="[ID|JOB_UID]...", nargs=-1, shell_complete=completion.ids
    )
    return cast("F", named(made))
