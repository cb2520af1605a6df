"""docs/reference/codes.md: codes of messages, scripts and commands, each from its own table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from docs.generate.markdown import code, head, prose, table
from supervision.cli.common import EXITS
from supervision.facts import ExitCode
from supervision.messages import CODES, MONITORING_CODES, Meaning, generation_of, meaning_of

MEANT: Final[dict[Meaning, str]] = {
    Meaning.SIMULATION_START: "a simulation begins",
    Meaning.COMPUTE_START: "a compute job begins",
    Meaning.PERIOD_START: "a compute job begins a period",
    Meaning.COMPUTE_END: "a compute job ended well",
    Meaning.SIMULATION_END: "a simulation is complete",
    Meaning.FATAL: "a compute job was stopped by an error",
    Meaning.COMMAND_FAILED: "a command failed in a job; alone it may mean nothing",
    Meaning.POST_START: "a post-processing job begins",
    Meaning.POST_END: "a post-processing job ended well",
    Meaning.POST_FAILED: "a post-processing job failed",
    Meaning.DELETED: "a simulation was deleted",
    Meaning.ACCOUNTING: "figures of a job; they are kept on it",
    Meaning.IGNORED: "nothing for us: it is counted, never stored",
}
"""What a message says, for people."""

SCRIPTS: Final[dict[ExitCode, str]] = {
    ExitCode.ACTED: "the job was given back to the scheduler",
    ExitCode.OTHER_SIMULATION: "the directory belongs to another simulation by now",
    ExitCode.COMPLETED: "the simulation is complete, or nothing of the task is missing",
    ExitCode.STOPPED_BY_POST: "post-processing stopped the chain, and its failure is open",
    ExitCode.ON_QUEUE_WITH_JOB: "the next job is in the queue already",
    ExitCode.PERIOD_RESTARTED: "this period was restarted before, under an earlier job",
    ExitCode.OTHER_JOB: "a job of this name is, or may be, in the queue",
    ExitCode.OTHER_JOB_APPEARED: "another job appeared meanwhile, and ours was cancelled",
    ExitCode.RUNNING_AGAIN: "the simulation goes on by itself: run.card changed",
    ExitCode.NOT_WRITABLE: "the disk cannot be written to, as with a full quota",
    ExitCode.JOB_LEAVING: "the failed job is still in the queue",
    ExitCode.SUBMIT_REFUSED: "the scheduler refused the job",
    ExitCode.DIRECTORY_LOCKED: "another script works in the directory",
    ExitCode.SCHEDULER_SILENT: "the scheduler does not answer",
    ExitCode.NO_LIBIGCM: "libIGCM, or a part of it, is not where it should be",
    ExitCode.LIBIGCM_SILENT: "libIGCM did not tell what is needed of config.card or run.card",
    ExitCode.NO_RUN_CARD: "run.card is missing or damaged",
    ExitCode.UNKNOWN_QUESTION: "libIGCM asked a question that is not known",
    ExitCode.CLEAN_FAILED: "cleaning failed, was silent for too long, or left a bad run.card",
    ExitCode.NO_DIRECTORY: "the submission directory, or the job in it, is not there",
    ExitCode.UNEXPECTED: "something that nobody thought of; the last lines of output tell it",
    ExitCode.TIMED_OUT: "it took too long, or was stopped from outside",
}
"""What each end of a script means, for people."""

_PAGE: Final = """\
## Message codes

libIGCM has numbered its messages in three ways, its *generations*: A is the oldest, C the one since
2015. A message proves its generation where it can; what proves nothing counts as B. In some
generations a field `command` changes what a code means. A field `msgProducerVersion` proves C, but
for what only A sends: 2000 and 3000 with `command`.

{messages}
A code that is not in the list is refused, with its reason: `supervision ingest` lists it with file
and line.

## Exit codes of scripts

A script looks before it acts, and ends with one of these. *Declined*: nothing is to be done, or
somebody else does it. *Not yet*: it cannot be done now, and is tried again. *Failed*: see
[what a row tells you](../runbook.md#what-a-row-tells-you). A code that is not in the list counts by
its class: 10 to 39 declined, 40 to 59 not yet, any other one failed.

{scripts}
## Exit codes of commands

{commands}"""


def page() -> str:
    """Write the page: messages, scripts, commands."""
    return (
        head("Codes", "`supervision/messages.py`, `supervision/facts_words.py` and the commands")
        + "\n"
        + _PAGE.format(
            messages=table(("code", "with `command`", "counts as", "says", "queue"), _messages()),
            scripts=table(("code", "name", "class", "means"), _scripts()),
            commands=table(("code", "means"), ((code(str(e.value)), t) for e, t in EXITS.items())),
        )
    )


def _messages() -> Iterator[tuple[str, str, str, str, str]]:
    for number in CODES:
        said = [(meaning_of(number, each), generation_of(number, each)) for each in _FIELDS]
        queue = "yes" if number in MONITORING_CODES else "none"
        told = ["either"] if said[0] == said[1] else ["no", "yes"]
        for given, (meaning, generation) in zip(told, said, strict=False):
            yield code(number), given, generation, MEANT[meaning] if meaning else "-", queue


_FIELDS: Final[tuple[dict[str, str], ...]] = ({}, {"command": ""})


def _scripts() -> Iterator[tuple[str, str, str, str]]:
    for each in ExitCode:
        kind = "declined" if each.declined else "not yet" if each.not_yet else "failed"
        told = "acted" if each is ExitCode.ACTED else kind
        yield code(str(each.value)), code(each.name), told, prose(SCRIPTS[each])
