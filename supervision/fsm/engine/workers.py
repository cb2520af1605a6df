"""Who does a site's remote work: one worker a site, so that a slow or dead one delays no other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Protocol

import structlog

_LOG = structlog.get_logger()

Work = Callable[[], object]


class Workers(Protocol):
    """Runs a site's work. Work of one site runs one after the other."""

    def run(self, site: str, work: Work) -> None:
        """Have the work done, now or soon; a failure of it is logged and never raised here."""

    def close(self) -> None:
        """Wait for what is running; what has not begun is dropped (alarms bring it back)."""


class InlineWorkers:
    """Does the work at once, in the caller's thread. For one-shot commands and for tests."""

    def run(self, site: str, work: Work) -> None:  # noqa: ARG002
        """Do it now; errors reach the caller."""
        work()

    def close(self) -> None:
        """Nothing is running."""


class SiteWorkers:
    """A thread for each site. At most `backlog` pieces of work wait; more are dropped.

    What is dropped is only a hint: the rows keep their alarms, and the sweeper sends them again.
    """

    def __init__(self, backlog: int = 64) -> None:
        self._backlog = backlog
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._waiting: dict[str, int] = {}
        self._lock = Lock()
        self._closed = False

    def run(self, site: str, work: Work) -> None:
        """Queue the work for the site's thread."""
        with self._lock:
            if self._closed or self._waiting.get(site, 0) >= self._backlog:
                _LOG.info("site.backlog_full", site=site)
                return
            self._waiting[site] = self._waiting.get(site, 0) + 1
            pool = self._pools.get(site)
            if pool is None:
                pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"site-{site}")
                self._pools[site] = pool
            context = copy_context()  # what the work is about goes with it to the site's thread
            future = pool.submit(context.run, work)
        future.add_done_callback(lambda done: context.run(self._settled, site, done))

    def _settled(self, site: str, done: Future[object]) -> None:
        with self._lock:
            self._waiting[site] -= 1
        error = None if done.cancelled() else done.exception()
        if error is not None:
            _LOG.error("site.work_failed", site=site, exc_info=error)

    def close(self) -> None:
        """End every thread once its present work is done. Idempotent."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
