"""The job engine of a process: procrastinate, on the gateway's own database.

A job says that there may be something to do, and where; what is to be done stands in the tables. So a job
that is done twice finds nothing to do, and for one that is lost a sweep finds what is left undone. No job
ever makes a paid call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
import structlog
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from app.database import Database
from app.events.notifications import Notifications
from app.jobs.connector import Connector

AT_ONCE = 200
"""Jobs under way in a process."""

POLL_SECONDS = 0.5
"""How often jobs are looked for that no notification told of: those whose time has come."""

HEARTBEAT_SECONDS, DEAD_SECONDS = 2.0, 8.0
"""How often a process says that it lives, and after how long without a word its jobs are another's."""

LONGEST_SECONDS = 600.0
"""No job takes so long: one that seems to was fetched by an answer that was lost."""

RESTART_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Jobs:
    """What may be done as a job, and the engine that does it. Any number of processes may run one."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._connector = Connector(database, notifications)
        self._app = procrastinate.App(connector=self._connector)
        self.stopping = asyncio.Event()
        """Set when the process stops: jobs that could go on for long end then."""

    def does(self, name: str, work: Callable[..., Awaitable[None]]) -> None:
        """Have jobs of this name done by a function, which is given what was deferred with them."""
        self._app.task(name=name)(work)

    def does_each_minute(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have something done once a minute, by one of all processes. Said again it changes nothing."""
        if name in self._app.tasks:
            return

        async def at_its_time(timestamp: int) -> None:
            await work()

        task = self._app.task(name=name, queueing_lock=name)(at_its_time)
        self._app.periodic(cron="* * * * *")(task)

    async def defer(self, name: str, *, once: str, **told: Any) -> None:
        """Defer a job, unless one that is deferred under the same `once` waits already."""
        try:
            await self._app.configure_task(name, queueing_lock=once).defer_async(**told)
        except AlreadyEnqueued:
            return

    async def run(self, stop: asyncio.Event) -> None:
        """Do jobs until `stop` is set; those that are under way are finished."""
        while not stop.is_set():
            working = asyncio.ensure_future(
                self._app.run_worker_async(
                    concurrency=AT_ONCE,
                    fetch_job_polling_interval=POLL_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=DEAD_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                self.stopping.set()
                self._connector.patient = False
                working.cancel()  # which lets it finish its jobs
                await asyncio.wait({working})
            if not working.cancelled() and (error := working.exception()) is not None:
                log.error("jobs.engine_crashed", exc_info=error)
                await asyncio.sleep(RESTART_SECONDS)

    async def sweep(self) -> None:
        """Put back the jobs of processes that have died, and forget those that nobody does."""
        manager = self._app.job_manager
        await manager.prune_stalled_workers(DEAD_SECONDS)
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=DEAD_SECONDS):
            with contextlib.suppress(ConnectorException):  # another process has just done so
                await manager.retry_job(job)
        await self._connector.execute_query_async(_FORGET_LOST, seconds=LONGEST_SECONDS)


_FORGET_LOST = """
    delete from procrastinate_jobs j
    where j.status = 'doing' and exists (
        select from procrastinate_events e where e.job_id = j.id and e.type = 'started'
        group by e.job_id having max(e.at) < now() - make_interval(secs => %(seconds)s)
    )
"""
