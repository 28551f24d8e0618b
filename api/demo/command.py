"""The command: finds the running product, plays the chapters, ends with the audit."""

import asyncio
import sys
from pathlib import Path

import click
import httpx

from api import audit, sample_keys, state
from api.demo import chapters
from api.demo.caller import NotAsTold
from api.demo.cast import gathered
from api.demo.teller import Teller
from api.sample_keys import SampleKeys
from api.state import Running
from commerce.kernel import settings
from commerce.kernel.settings import OperatorError

TIMEOUT_SECONDS = 30.0


@click.command(name="demo")
@click.option("--pause", is_flag=True, help="Wait for a key before each step.")
def command(*, pause: bool) -> None:
    """Play one order's life against the running product, and tell it step by step."""
    configured = settings.load()
    running, keys = _stage(configured.state_dir)
    teller = Teller(pause=pause)
    with state.database(configured) as dsn:
        good = asyncio.run(_play(running, keys, teller, dsn))
    sys.exit(0 if good else 1)


def _stage(state_dir: Path) -> tuple[Running, SampleKeys]:
    running = state.running(state_dir)
    keys = sample_keys.load(state_dir)
    if keys is None:
        raise OperatorError(
            "The story needs the demo retailer, and this installation has its own data. "
            "Set STATE_DIR to a new directory and start there."
        )
    if running.stripe_url is None:
        raise OperatorError(
            "The story needs the built-in fake of Stripe, where a bank's page can be approved "
            "without a person. Start without STRIPE_API_KEY."
        )
    return running, keys


async def _play(running: Running, keys: SampleKeys, teller: Teller, dsn: str) -> bool:
    """Whether everything was as told."""
    click.echo("Mostrador: one order's life, from a phone to a counter, and back over another one.")
    click.echo(f"Everything happens over HTTP at {running.api_url}, with the demo retailer's keys.")
    client = httpx.AsyncClient(base_url=running.api_url, timeout=TIMEOUT_SECONDS, trust_env=False)
    async with client as http:
        try:
            async with gathered(http, keys, teller) as cast:
                await chapters.play(cast)
        except NotAsTold as other:
            teller.failed(str(other), other.found)
            return False
    teller.step("The auditor counts everything after them")
    report = await audit.run(dsn)
    if report.findings:
        teller.failed("everything agrees", "The audit's findings are above.")
        return False
    teller.end("Everything was as told. `mostrador demo` may be played again at any time.")
    return True
