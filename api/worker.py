"""`python -m api.worker`: everything that is nobody's request. Any number of them may run.

Each consumes messages; one of them leads, which means relay and sweeps. SIGTERM ends it cleanly
within five seconds; killed outright it leaves nothing that another would not go on with.
"""

import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack

import click

from api import relay, sweeps
from api.actors import NAMES
from api.broker import Background
from api.doorbell import Doorbell
from api.log import LEVELS, Log
from api.work import open_work
from commerce.kernel import clock, settings
from commerce.kernel.settings import OperatorError, Settings

STOP_SECONDS = 3.0
NICENESS = 5
"""Requests go first: background work takes what processor time they leave."""


async def serve(configured: Settings, stop: asyncio.Event) -> None:
    """Until `stop` is set. Raises what relay or sweeps cannot go on from."""
    log = Log(configured.log_level, clock.now)
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines(log)], force=True)
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(log.running())
        work = await opened.enter_async_context(open_work(configured, log=log, now=clock.now))
        bell = Doorbell(configured.direct_url, log)
        await opened.enter_async_context(bell.running())
        work.database.on_commit = bell.ring
        background = await asyncio.to_thread(Background, configured, log=log, now=clock.now)
        await asyncio.to_thread(background.start)
        opened.push_async_callback(asyncio.to_thread, background.stop, STOP_SECONDS)
        every = (*sweeps.SWEEPS, sweeps.failed_deliveries(background.tell))
        leading = asyncio.create_task(
            relay.lead(
                configured.direct_url,
                subscriptions=NAMES,
                tell=background.tell,
                beside=lambda: sweeps.run_all(work, every),
                log=log,
                now=clock.now,
            )
        )
        stopping = asyncio.create_task(stop.wait())
        log.write("info", "worker runs")
        try:
            await asyncio.wait([leading, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()
            stopping.cancel()
            await asyncio.wait([leading, stopping])
        if not leading.cancelled():
            leading.result()
        log.write("info", "worker stops")


class _Lines(logging.Handler):
    """What libraries say, as lines of our log: who says it, with a fault's types and places."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line; the text itself may hold anything and is left out."""
        level = record.levelname.lower()
        said = {"logger": record.name, "place": f"{record.filename}:{record.lineno}"}
        if record.exc_info and record.exc_info[1]:
            self._log.fault("library", record.exc_info[1], **said)
        else:
            self._log.write(level if level in LEVELS else "error", "library", **said)


async def _main() -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await serve(settings.load(), stop)


if __name__ == "__main__":
    os.nice(NICENESS)
    try:
        asyncio.run(_main())
    except OperatorError as refused:
        click.echo(f"The worker cannot run. {refused}", err=True)
        sys.exit(1)
