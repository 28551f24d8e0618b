"""What carriers tell of messages: signed, noted at once, and never asked to be told again."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, post

from api.auth import public
from api.contract import no_key_needed, raises
from api.services import Services
from commerce import messages
from commerce.kernel.sql import Connection
from commerce.messages import MAX_TOLD, CallbackRefused, Told, signing


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some things that a carrier tells, in any order."""

    events: Annotated[tuple[Told, ...], msgspec.Meta(min_length=1, max_length=MAX_TOLD)]


class Noted(msgspec.Struct, frozen=True):
    """How many of them changed something. What came before, or is about nothing here, did not."""

    changed: int


@post(
    "/v1/webhooks/messages",
    guards=[public()],
    status_code=200,
    opt=raises(CallbackRefused),
)
@no_key_needed("what is told carries its own id")
async def receive_message_events(
    request: Request[Any, Any, Any], services: Services, now: datetime
) -> Noted:
    """What became of messages, and what people replied. Signed as `api/carriers.py` says.

    The body is `{"events": [...]}`, each with `id`, `kind` (delivered, read, bounced, failed,
    reply), `at`, and `message_id`; a reply has `from` and `text`. Telling twice, late or in another
    order is harmless, and a message that is unknown here is no error.
    """
    body = await request.body()
    header = request.headers.get(signing.HEADER, "")
    signing.verify(services.settings.carrier_secret, header, body, now)
    try:
        told = msgspec.json.decode(body, type=Callback)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise CallbackRefused(reason=f"it is signed, but no callback: {wrong}") from wrong

    async def work(conn: Connection) -> int:
        return await messages.apply(conn, told.events, now=now)

    return Noted(await services.commit(work))


ROUTES = [receive_message_events]
