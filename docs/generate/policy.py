"""docs/policy.md: the rules in their order, each in the words of its own docstring."""

from __future__ import annotations

import inspect
from typing import Final

from docs.generate.markdown import code, head, paragraph, prose, table
from supervision.facts import VerdictKind
from supervision.policy import RULES, Ranked

_MEANT: Final[dict[VerdictKind, str]] = {
    VerdictKind.SUPERVISE: "help; how far, the level says",
    VerdictKind.REFUSE: "do not",
    VerdictKind.DEFER: "not now: the rules are asked again at a moment that the verdict names",
    VerdictKind.MERGE: "another row has it already",
}
_PAGE: Final = """\
A trigger says that somebody should look at a job: it failed, a command in it failed, it is silent
for too long, no next one has started. Policy answers it with a verdict:

{verdicts}
It asks its rules in a fixed order. A rule speaks or is silent, and **the first that speaks gives
the verdict**. The verdict bears the name of the rule and a sentence for people. The last rule is
never silent, so there is always an answer.

## What a rule may know

Facts, settings and the moment, and nothing else. A rule asks no database, no centre and no clock.
So the same facts, policy and moment give the same verdict for ever. That is what makes three
commands possible: `supervision why` replays a decision, `supervision whatif` asks another policy,
and `supervision retry` asks again.

A rule that needs to know what only the centre can tell says so. The job is then looked at, the look
becomes one of the facts, and the rules are asked again from the first.

## The rules, in their order

{rules}
*A person's*: whether the rule also meets an attempt that a person began, with `supervision retry`.
Rules that judge the failure do not: the person has. Those that protect the simulation do.

*Before acting*: whether the rule is asked once more right before the first byte leaves, when hours
may have gone by. What it says then: *supervise* acts, *defer* and *merge* wait, *refuse* cancels
the row.

## Where the order comes from

First what is cheap and final: too old, deleted, not ours, not allowed. Then what has been settled
already: by another row, by the simulation itself, by somebody else. Then whether a restart would
only repeat the failure. Then what stops everybody for a while. These come before anybody connects,
so a hold or a maintenance is obeyed by looks, too. Last what has to be seen at the centre, because
it costs something there.

## Changing it

Most of what people want to change is a number: [`[policy]`](reference/settings.md#policy). Try it
first with `supervision whatif --policy new.toml`: it tells [what would have come out
otherwise](whatif.md). A new rule is a function in `supervision/rules/` and a line in
`supervision/policy.py`; this page then has it, too.
"""


def page() -> str:
    """Write the page: the verdicts, then every rule with whom it meets."""
    rows = (_row(number, ranked) for number, ranked in enumerate(RULES, 1))
    return (
        head("Policy: how it decides", "`supervision/policy.py` and `supervision/rules/`")
        + "\n"
        + _PAGE.format(
            verdicts="".join(paragraph(f"- *{kind}*: {_MEANT[kind]}") for kind in VerdictKind),
            rules=table(("", "rule", "what it does", "a person's", "before acting"), rows),
        )
    )


def name_of(ranked: Ranked) -> str:
    """Spell a rule as verdicts do."""
    return ranked.speak.__name__.replace("_", "-")


def _row(number: int, ranked: Ranked) -> tuple[str, str, str, str, str]:
    said = inspect.cleandoc(ranked.speak.__doc__ or "").split("\n\n")[0]
    person, acting = ("yes" if each else "no" for each in (ranked.person, ranked.acting))
    return str(number), code(name_of(ranked)), prose(said), person, acting
