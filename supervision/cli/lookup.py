"""From what people type (an id, a job, a simulation, a prefix of one) to what it stands for."""

from __future__ import annotations

from supervision.app import App
from supervision.errors import NotFound
from supervision.facts import Supervision
from supervision.fsm.engine.reading import Find, One, Show, Why


def supervision_of(made: App, text: str) -> str:
    """Take a supervision's id, or the uid of the job that it is about; raises NotFound."""
    found = made.engine.read(Find(text=text))
    if found.supervision_id is not None:
        return found.supervision_id
    row = None if found.job_uid is None else of_job(made, found.job_uid)
    if row is None:
        raise NotFound(f"there is no supervision of {text}; supervision why {text} tells more")
    return row.id


def job_of(made: App, text: str) -> str:
    """Take the uid of a job, or the id of its supervision; raises NotFound."""
    found = made.engine.read(Find(text=text))
    if found.supervision_id is not None:
        return made.engine.read(One(supervision_id=found.supervision_id))[0].job_uid
    if found.job_uid is None:
        raise NotFound(f"{text} is a simulation; supervision why {text} names its jobs")
    return found.job_uid


def simulation_of(made: App, text: str) -> str:
    """Take the uid of a simulation; raises NotFound."""
    uid = made.engine.read(Find(text=text)).simulation_uid
    if uid is None:
        raise NotFound(f"{text} is the id of something else than a simulation")
    return uid


def of_job(made: App, job_uid: str) -> Supervision | None:
    """Read the one supervision of a job, if there is one."""
    decisions = made.engine.read(Why(job_uid=job_uid))
    rows = of_simulation(made, decisions[0].simulation_uid) if decisions else []
    return next((row for row in rows if row.job_uid == job_uid), None)


def of_simulation(made: App, simulation_uid: str) -> list[Supervision]:
    """Read the supervisions of a simulation, oldest first."""
    return made.engine.read(Show(simulation_uid=simulation_uid, limit=None))[::-1]
