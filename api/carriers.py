"""Who carries messages here: a mail server, and one HTTP address each for SMS, WhatsApp and push.

A carrier of the last three is whatever stands behind its address: a gateway's adapter, a function.
It gets one POST for each message, with the JSON of `Parcel`, and these headers:

    Idempotency-Key       the message's id; the same again when we could not tell whether it arrived
    Mostrador-Signature   t=<unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" with CARRIER_SECRET, hex>

Its answer: any 2xx, or 409 for a message that it has already: taken. 410: there is nobody at this
address, and we stop writing there. 408, 425, 429, 5xx or none within ten seconds: we try again,
later each time. Any other: not this message, ever. What becomes of the message it tells
`POST /v1/webhooks/messages`, signed in the same way.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec

from api.mail import Mail
from commerce.consents import MessageChannel
from commerce.kernel.clock import Clock
from commerce.kernel.settings import OperatorError, Settings
from commerce.messages import Carrier, Carriers, Message, NotSent, signing

TIMEOUT_SECONDS = 10.0
_ALREADY = 409
_GONE = 410
_AGAIN = frozenset({408, 425, 429})
_SERVER_ERRORS = 500


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as it is posted to its carrier."""

    id: str
    channel: MessageChannel
    to: str
    locale: str
    body: str
    subject: str = ""
    unsubscribe_url: str | None = None


class HttpCarrier:
    """One address that messages are posted to."""

    def __init__(self, client: httpx.AsyncClient, url: str, secret: str, now: Clock) -> None:
        self._client = client
        self._url = url
        self._secret = secret
        self._now = now

    async def send(self, message: Message) -> None:
        """Post one message. Raises NotSent; the carrier may have taken it all the same."""
        parcel = Parcel(
            str(message.id),
            message.channel,
            message.recipient,
            message.locale,
            message.body,
            message.subject,
            message.unsubscribe_url,
        )
        body = msgspec.json.encode(parcel)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": parcel.id,
            signing.HEADER: signing.sign(self._secret, body, self._now()),
        }
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as failed:
            raise NotSent(type(failed).__name__) from failed
        status = answer.status_code
        if not (answer.is_success or status == _ALREADY):
            final = status < _SERVER_ERRORS and status not in _AGAIN
            raise NotSent(f"HTTP {status}", gone=status == _GONE, final=final)


def carried_channels(settings: Settings) -> frozenset[MessageChannel]:
    """Those whose messages leave the house."""
    return frozenset(channel for channel, url in _urls(settings).items() if url)


@asynccontextmanager
async def open_carriers(settings: Settings, now: Clock) -> AsyncGenerator[Carriers]:
    """The carriers that are configured. Raises OperatorError for one without a secret."""
    urls = _urls(settings)
    smtp_url = urls.pop("email")
    carriers: dict[MessageChannel, Carrier] = {}
    if smtp_url:
        carriers["email"] = Mail(smtp_url)
    if any(urls.values()) and not settings.carrier_secret:
        raise OperatorError("CARRIER_SECRET is missing: SMS, WhatsApp and push sign with it.")
    async with AsyncExitStack() as opened:
        for channel, url in urls.items():
            if url:
                # A client of its own, so that one slow carrier takes no connection of another.
                client = await opened.enter_async_context(
                    httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)
                )
                carriers[channel] = HttpCarrier(client, url, settings.carrier_secret, now)
        yield carriers


def _urls(settings: Settings) -> dict[MessageChannel, str]:
    return {
        "email": settings.smtp_url,
        "sms": settings.sms_url,
        "whatsapp": settings.whatsapp_url,
        "push": settings.push_url,
    }
