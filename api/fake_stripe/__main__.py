"""Serve the fake Stripe of these settings in one process, until SIGTERM or Ctrl-C."""

import asyncio
import signal
import sys

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from api.fake_stripe import application
from commerce.kernel import settings


async def serve() -> None:
    """Listen on the configured address; requests under way are answered before it ends."""
    configured = settings.load()
    stripe = application()
    server = Server(
        stripe,
        address=configured.host,
        port=configured.fake_stripe_port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_level=LogLevels.error,
    )

    def stop() -> None:
        stripe.end()
        server.stop()  # type: ignore[no-untyped-call]

    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    await server.serve()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except settings.OperatorError as wrong:
        sys.exit(str(wrong))
