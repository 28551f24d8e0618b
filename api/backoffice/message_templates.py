"""The retailer's own message texts, and addresses that are written to again."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import PathParameter

from api.auth import may
from api.contract import no_key_needed, raises
from commerce import messages
from commerce.access import Principal
from commerce.consents import MessageChannel
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.messages import SAMPLES, OwnText, Said, TemplateInvalid, UnknownTemplate
from commerce.messages.own_texts import Locale

Template = Annotated[
    str, PathParameter(max_length=60, pattern="^[a-z_]+$", description="As the list names it.")
]
_PART = r"^[^\x00]*$"
_MAIL = "Hola {{ name }}: tu pedido {{ number }} está listo. Código {{ code }}."
_ADDRESS = "/v1/backoffice/message-templates/{template:str}/{channel:str}/{locale:str}"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in its parts: `{{ name }}` says a parameter, `{% if %}` and `{% for %}` may be used.

    Only mail and push have a `subject`, only mail `html`, in which parameters are escaped.
    """

    body: Annotated[
        str, msgspec.Meta(min_length=1, max_length=20_000, pattern=_PART, examples=[_MAIL])
    ]
    subject: Annotated[
        str, msgspec.Meta(max_length=500, pattern=_PART, examples=["Tu pedido {{ number }}"])
    ] = ""
    html: Annotated[str, msgspec.Meta(max_length=100_000, pattern=_PART)] | None = None


class TextView(msgspec.Struct, frozen=True):
    """The retailer's own text for a channel and a language."""

    channel: MessageChannel
    locale: Locale
    subject: str
    body: str
    html: str | None
    changed_at: datetime

    @classmethod
    def of(cls, text: OwnText) -> "TextView":
        """Under its template."""
        shown: TextView = msgspec.convert(text, cls, from_attributes=True)
        return shown


class TemplateView(msgspec.Struct, frozen=True):
    """An occasion to write: what its texts may speak of, and which of them are the retailer's."""

    template: str
    parameters: list[str]
    own_texts: list[TextView]


class Templates(msgspec.Struct, frozen=True):
    """Every template."""

    templates: list[TemplateView]


class StoppedAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that bounced, as a message's `recipient` has it."""

    channel: MessageChannel
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096, pattern=_PART)]


@get("/v1/backoffice/message-templates", guards=[may("message.read")])
async def list_templates(reading: Connection) -> Templates:
    """Every template with its parameters, and the retailer's own texts for it."""
    own: dict[str, list[TextView]] = {name: [] for name in sorted(SAMPLES)}
    for text in await messages.own_texts(reading, list(own)):
        own[text.template].append(TextView.of(text))
    return Templates(
        [TemplateView(name, sorted(SAMPLES[name]), texts) for name, texts in own.items()]
    )


@put(_ADDRESS, guards=[may("message.write")], opt=raises(UnknownTemplate, TemplateInvalid))
async def put_template(
    template: Template,
    channel: MessageChannel,
    locale: Locale,
    data: Words,
    conn: Connection,
    who: Principal,
    now: datetime,
) -> TextView:
    """Use this text from now on. One that could not be said is refused, with its line."""
    put = await messages.put_own_text(
        conn, who, template, channel, locale, subject=data.subject, body=data.body, html=data.html,
        now=now,
    )  # fmt: skip
    return TextView.of(put)


@delete(_ADDRESS, guards=[may("message.write")], opt=raises(NotFound))
async def remove_template(
    template: Template,
    channel: MessageChannel,
    locale: Locale,
    conn: Connection,
    who: Principal,
    now: datetime,
) -> None:
    """Use the product's text again."""
    await messages.remove_own_text(conn, who, template, channel, locale, now=now)


@post(
    f"{_ADDRESS}/preview",
    guards=[may("message.write")],
    status_code=200,
    opt=raises(UnknownTemplate, TemplateInvalid),
)
@no_key_needed("it shows a text and keeps nothing")
async def preview_template(
    template: Template, channel: MessageChannel, locale: Locale, data: Words
) -> Said:
    """How a text looks with an example of each parameter."""
    return messages.preview(
        template, channel, locale, subject=data.subject, body=data.body, html=data.html
    )


@post(
    "/v1/backoffice/stopped-addresses/lift",
    guards=[may("message.write")],
    status_code=204,
    opt=raises(NotFound),
)
@no_key_needed("an address is written to again however often it is said")
async def lift_stop(data: StoppedAddress, conn: Connection, who: Principal, now: datetime) -> None:
    """Write to an address again that was said to be nobody's. Messages that failed stay so."""
    await messages.lift(conn, who, data.channel, data.address, now=now)


ROUTES = [list_templates, put_template, remove_template, preview_template, lift_stop]
