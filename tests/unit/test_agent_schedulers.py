"""Schedulers: what their commands print, read by column; what nobody knows is an error."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from hpc_agent.listing import SCHEDULERS
from hpc_agent.schedulers import ccc, loadleveler, pbs, sandbox, slurm
from hpc_agent.schedulers.words import Job, ListingError

DOCUMENTED = Path(__file__).parents[1] / "data" / "schedulers" / "documented"

SQUEUE = """\
41234|RUNNING|None|/data/x/EXP00|EXP00
123|PENDING|Priority|/data/x/EXP01|a|b
124|PENDING|JobHeldUser|/data/x/EXP02|EXP02
125|SUSPENDED|None|/data/x/EXP03|EXP03
126|COMPLETED|None|/data/x/EXP04|EXP04
127|TIMEOUT|TimeLimit|/data/x/EXP05|EXP05
128|OUT_OF_MEMORY|OutOfMemory|/data/x/EXP06|EXP06
129_4|NODE_FAIL|NodeFail|/data/x/EXP07|EXP07
130|CANCELLED|None|/data/x/EXP08|EXP08
131|SOMETHING_NEW|None|/data/x/EXP09|EXP09
"""

SACCT = """\
126|COMPLETED|/data/x/EXP04|EXP04
130|CANCELLED by 1234|/data/x/EXP08|EXP08
131|FAILED|/data/x/EXP09|EXP09
"""

CCC_MPP = """\
USER     ACCOUNT   BATCHID   NCPU   QUEUE      PRIORITY  STATE   RLIM    RUN/START   SUSP    OLD     NAME    NODES/REASON
p86smith gen2211   1008469   128    standard   210000    PEN     1.0d    -           -       19.0s   EXP00   Priority
p86smith gen2211   1008470   128    standard   210000    RUN     1.0d    3.2h        -       4.0h    EXP01   curie[1-8]
p86smith gen2211   1008471   128    standard   210000    RUN     1.0d    3.2h        10.0m   4.0h    EXP02   curie[1-8]
p86smith gen2211   1008472   128    standard   210000    PEN     1.0d    -           -       4.0h    EXP03   JobHeldUser
p86smith gen2211   1008473   128    standard   210000    ZZZ     1.0d    -           -       4.0h    EXP04
other    gen2211   1008474   128    standard   210000    RUN     1.0d    3.2h        -       4.0h    EXP05   curie9
"""  # noqa: E501

LLQ = """\
Step Id                  ST Job Name
------------------------ -- --------
ada338.123456.0          R  EXP00
ada338.123457.0          I  EXP01
ada338.123458.0          HS EXP02
ada338.123459.0          C  EXP03
ada338.123460.0          RM EXP04

5 job step(s) in query, 1 waiting, 0 pending, 1 running, 1 held, 0 preempted
"""

QSTAT = """\
Job Id: 4123.ciclad2.ipsl
    Job_Name = EXP00.A_LONG_NAME.OF_MORE_THAN.FIFTEEN
    Job_Owner = p86smith@ciclad2
    job_state = R
    Variable_List = PBS_O_HOME=/home/p86smith,PBS_O_WORKDIR=/data/p86smith/modipsl/
\tconfig/IPSLCM5/EXP00,PBS_O_HOST=ciclad2

Job Id: 4124.ciclad2.ipsl
    Job_Name = EXP01
    Job_Owner = p86smith@ciclad2
    job_state = C
    exit_status = 0
    init_work_dir = /data/p86smith/EXP01

Job Id: 4125.ciclad2.ipsl
    Job_Name = EXP02
    Job_Owner = p86smith@ciclad2
    job_state = C
    exit_status = 271

Job Id: 4126.ciclad2.ipsl
    Job_Name = EXP03
    Job_Owner = other@ciclad2
    job_state = Q
"""


def test_slurm() -> None:
    """Names may hold the separator; a held pending job is held; an unknown word is unknown."""
    jobs = slurm.parse_queue(SQUEUE, "p86smith")
    assert jobs[1] == Job("123", "a|b", "/data/x/EXP01", "queued", None)
    assert [(job.sight, job.reason) for job in jobs] == [
        ("running", None),
        ("queued", None),
        ("held", None),
        ("held", None),
        ("ended", "completed"),
        ("ended", "timeout"),
        ("ended", "out_of_memory"),
        ("ended", "node_fail"),
        ("ended", "cancelled"),
        ("unknown", None),
    ]


def test_slurms_accounts() -> None:
    """Who cancelled does not hide that it was cancelled."""
    jobs = slurm.parse_history(SACCT)
    assert ["completed", "cancelled", "failed"] == [job.reason for job in jobs]
    command = slurm.history_command(["7_1", "8"]) or []
    assert "7,8" in command


def test_ccc() -> None:
    """Columns 3, 7, 10, 12 and 13; other users' jobs are left out; no directory is told."""
    jobs = ccc.parse_queue(CCC_MPP, "p86smith")
    assert jobs[0] == Job("1008469", "EXP00", None, "queued", None)
    assert ["queued", "running", "held", "held", "unknown"] == [job.sight for job in jobs]
    assert (ccc.alive(CCC_MPP), ccc.alive("")) == (True, False)


@pytest.mark.parametrize(
    ("scheduler", "file", "busy", "empty"),
    [
        (pbs, "pbs-qstat-B.txt", "31 ", "0 "),
        (loadleveler, "loadleveler-llstatus.txt", "machines      5", "machines      0"),
    ],
)
def test_a_machine_without_any_job_is_no_sign_of_life(
    scheduler: ModuleType, file: str, busy: str, empty: str
) -> None:
    """A server that lost its memory is up too, and knows nobody's jobs."""
    text = (DOCUMENTED / file).read_text()
    assert (True, False) == (scheduler.alive(text), scheduler.alive(text.replace(busy, empty)))
    assert not scheduler.alive("")


def test_loadleveler() -> None:
    """Rows stand between the ruler and the blank line."""
    jobs = loadleveler.parse_queue(LLQ, "p86smith")
    assert jobs[0] == Job("ada338.123456.0", "EXP00", None, "running", None)
    assert [(job.sight, job.reason) for job in jobs[1:]] == [
        ("queued", None),
        ("held", None),
        ("ended", "completed"),
        ("ended", "cancelled"),
    ]
    assert loadleveler.parse_queue("llq: There is currently no job status to report.\n", "x") == []


def test_pbs() -> None:
    """Names are whole, directories known where told, a signal's exit status is no cause."""
    jobs = pbs.parse_queue(QSTAT, "p86smith")
    assert jobs == [
        Job(
            "4123.ciclad2.ipsl",
            "EXP00.A_LONG_NAME.OF_MORE_THAN.FIFTEEN",
            "/data/p86smith/modipsl/config/IPSLCM5/EXP00",
            "running",
            None,
        ),
        Job("4124.ciclad2.ipsl", "EXP01", "/data/p86smith/EXP01", "ended", "completed"),
        Job("4125.ciclad2.ipsl", "EXP02", None, "ended", "unknown"),
    ]
    assert pbs.parse_queue("", "p86smith") == []


def test_sandbox() -> None:
    """One object a line; an ended job keeps its reason; other logins are left out."""
    rows: list[dict[str, object]] = [
        {"id": "1", "name": "A", "directory": "/a", "state": "ended", "reason": "timeout"},
        {"id": "2", "name": "B", "directory": "/b", "state": "running", "reason": None},
        {"id": "3", "name": "C", "directory": "/c", "state": "dreaming", "reason": None},
    ]
    text = "\n".join(json.dumps({**row, "login": "me"}) for row in rows)
    other = json.dumps({**rows[0], "login": "you"})
    assert sandbox.parse_queue(f"{text}\n{other}\n", "me") == [
        Job("1", "A", "/a", "ended", "timeout"),
        Job("2", "B", "/b", "running", None),
        Job("3", "C", "/c", "unknown", None),
    ]


@pytest.mark.parametrize(
    ("scheduler", "text"),
    [
        (slurm, "slurm_load_jobs error: Unable to contact slurm controller\n"),
        (ccc, "ccc_mpp: error\n"),
        (loadleveler, "llq: 2512-301 An error occurred\n"),
        (loadleveler, "Step Id ST\n---- --\nada338.1.0\n"),
        (pbs, "pbs_iff: cannot connect to host\n"),
        (pbs, "Job Id: 1.x\n    Job_Name = A\n"),
        (sandbox, "no such spool\n"),
        (sandbox, '{"id": "1"}\n'),
        (sandbox, "7\n"),
    ],
)
def test_what_no_parser_knows_is_an_error(scheduler: ModuleType, text: str) -> None:
    """A complaint instead of a list, or half a row, never reads as an empty queue."""
    with pytest.raises(ListingError):
        scheduler.parse_queue(text, "p86smith")


@pytest.mark.parametrize(
    ("scheduler", "one", "other", "same"),
    [
        (slurm, "123", "123_4", True),
        (slurm, "123", "41234", False),
        (pbs, "123", "123.ciclad2.ipsl", True),
        (pbs, "123", "1234.ciclad2", False),
        (loadleveler, "ada338.123.0", "ada338.idris.fr.123.0", True),
        (loadleveler, "ada338.123", "ada338.123.0", True),
        (loadleveler, "ada338.123.0", "ada337.123.0", False),
        (ccc, "123", "123 ", True),
        (sandbox, "1", "11", False),
    ],
)
def test_ids_are_compared_whole(scheduler: ModuleType, one: str, other: str, *, same: bool) -> None:
    """Two spellings of one id are equal; 123 is not in 41234."""
    assert same == (scheduler.job_key(one) == scheduler.job_key(other))


@pytest.mark.parametrize(
    ("name", "submit", "cancel"),
    [
        ("slurm", ["sbatch", "--parsable", "F"], ["scancel", "7"]),
        ("ccc", ["ccc_msub", "F"], ["ccc_mdel", "7"]),
        ("loadleveler", ["llsubmit", "F"], ["llcancel", "7"]),
        ("pbs", ["qsub", "F"], ["qdel", "7"]),
        ("sandbox", ["sbx-submit", "F"], ["sbx-cancel", "7"]),
    ],
)
def test_every_scheduler_has_its_commands(name: str, submit: list[str], cancel: list[str]) -> None:
    """Commands are lists of words, never a line for a shell."""
    scheduler = SCHEDULERS[name]
    assert submit == scheduler.submit_command("F")
    assert cancel == scheduler.cancel_command("7")
    assert all(isinstance(word, str) for word in scheduler.queue_command("me"))


@pytest.mark.parametrize("scheduler", [ccc, loadleveler, pbs, sandbox])
def test_without_a_history_nothing_is_made_up(scheduler: ModuleType) -> None:
    """Schedulers that forget say so."""
    assert scheduler.history_command(["7"]) is None
    with pytest.raises(ListingError):
        scheduler.parse_history("7 COMPLETED")
