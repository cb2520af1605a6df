"""What a line is about: which ids it names, and that none of them stays behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast

import pytest
from structlog.contextvars import get_contextvars

from supervision.adapters.routes import SiteRoutes, Way
from supervision.fsm.engine.workers import SiteWorkers
from supervision.logs_about import NAMED, about, afresh


def test_one_is_named_and_many_are_counted() -> None:
    """Of more than fit on a line the first are named, in order; nothing is named twice."""
    many = [f"job-{number:03}" for number in reversed(range(NAMED + 5))]
    with about(queue="q", message_id=["m"], job_uid=[*many, many[0], None], site=None, login=()):
        expected = {
            "queue": "q",
            "message_id": "m",
            "job_uids": sorted(many)[:NAMED],
            "job_count": NAMED + 5,
        }
        assert expected == get_contextvars()


def test_the_narrower_replaces_the_wider() -> None:
    """A row of a set is named alone, and the set again afterwards; other keys stay."""
    with about(queue="q", job_uid=["a", "b"]):
        wider = get_contextvars()
        with about(job_uid="a"):
            assert {"queue": "q", "job_uid": "a"} == get_contextvars()
        assert wider == get_contextvars()
    assert {} == get_contextvars()


def test_work_that_is_about_something_else_names_nothing_of_it() -> None:
    """And what is around it is known again at its end."""
    with about(message_id="m"):
        with afresh():
            assert {} == get_contextvars()
        assert {"message_id": "m"} == get_contextvars()


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_nothing_stays_behind_an_error(error: BaseException) -> None:
    """Whatever ends the work, the next batch of the same thread is not about it."""
    with suppress(type(error)), about(message_id="m"), afresh(), about(job_uid="j"):
        raise error
    assert {} == get_contextvars()


def test_another_thread_knows_nothing_of_it() -> None:
    """What is bound here is bound for this thread alone."""
    with ThreadPoolExecutor(1) as pool, about(message_id="m"):
        assert {} == pool.submit(get_contextvars).result()


def test_a_sites_worker_is_told_what_its_work_is_about() -> None:
    """Each piece of work with what set it off, and nothing of the piece before."""
    seen: list[dict[str, object]] = []
    workers = SiteWorkers()
    with about(message_id="m"):
        workers.run("curie", lambda: seen.append(get_contextvars()))
    workers.run("curie", lambda: seen.append(get_contextvars()))
    with about(job_uid="j"):
        workers.run("curie", lambda: seen.append(get_contextvars()))
    workers.run("irene", lambda: None)
    for pool in workers._pools.values():  # noqa: SLF001 - `close` would drop what has not begun
        pool.shutdown(wait=True)
    assert [{"message_id": "m"}, {}, {"job_uid": "j"}] == seen


class _Way:
    """Notes what its lines would name; every verb is the same to it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    def __getattr__(self, verb: str) -> Callable[..., Sequence[object]]:
        def call(site: str, login: str, *_subjects: object) -> Sequence[object]:
            self.seen.append(get_contextvars())
            return (verb, site, login)

        return call


@pytest.mark.parametrize("verb", ["submit", "status", "look", "cancel", "doctor"])
def test_on_the_way_to_a_centre_site_and_login_are_named(verb: str) -> None:
    """Whichever transport it is, beside the rows that the request is about."""
    way = _Way()
    routes = SiteRoutes({"curie": cast("Way", way)}, {})
    with about(supervision_id="s"):
        assert (verb, "curie", "p86user1") == getattr(routes, verb)("curie", "p86user1", ())
    assert [{"supervision_id": "s", "site": "curie", "login": "p86user1"}] == way.seen
    assert {} == get_contextvars()
