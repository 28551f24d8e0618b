"""What messages say: a template for each occasion, in Spanish and English, for each channel.

The product's own texts are files of `templates/`, one for each template and language, with the
blocks `subject`, `text` (a mail) and `short` (SMS, WhatsApp, push). A new one is two such files and
a row of `SAMPLES`, which names its parameters.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from jinja2.runtime import Context

from commerce.kernel.errors import CommerceError
from commerce.kernel.money import Money
from commerce.messages.speaking import LOCALES, spoken

_STORE = {
    "name": "Centro",
    "street": "Av. Madero 1",
    "city": "Ciudad de México",
    "hours": "lun - dom: 10:00 - 20:00",
}
_MOMENT = datetime(2026, 11, 27, 18, tzinfo=UTC)
_ORDER = {"name": "Ana", "number": "7K3M9QX", "total": Money(12_900, "MXN")}
_PICKUP = {"name": "Ana", "number": "7K3M9QX", "code": "4K7P2M"}
_FROM_ASSOCIATE = {"name": "Ana", "associate": "Eva", "store": _STORE, "line": "¡Te espero!"}

SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "order_placed": {**_ORDER, "store": _STORE, "promised_at": _MOMENT},
    "order_cancelled": _ORDER,
    "pickup_ready": {**_ORDER, "store": _STORE, "code": "4K7P2M", "expires_at": _MOMENT},
    "refund_made": {**_ORDER, "amount": Money(4_500, "MXN"), "tender": "card"},
    "sign_in_code": {"code": "042137"},
    "consent_recorded": {"store": _STORE},
    "erasure_requested": {"numbers": ["7K3M9QX"]},
    "profiles_joined": {},
    "answer": {"text": "Mañana a las 10 está.", "store": _STORE},
    "address_code": {"code": "042137"},
    "abandoned_cart": {"name": "Ana", "items": "Camisa de lino, Falda midi"},
    "pickup_reminder": {**_PICKUP, "store": _STORE, "expires_at": _MOMENT},
    "back_in_stock": {"name": "Ana", "item": "Camisa de lino", "store": _STORE},
    "after_purchase": {"name": "Ana", "number": "7K3M9QX"},
    "outreach_thanks": _FROM_ASSOCIATE,
    "outreach_suggestion": {**_FROM_ASSOCIATE, "item": "Camisa de lino"},
}
"""Every template, with an example of each of its parameters."""

MAX_CHARACTERS = {"email": 100_000, "sms": 459, "whatsapp": 4_096, "push": 1_000}
"""Of a body, by channel: three joined SMS; what WhatsApp and the push services take."""

MAX_SUBJECT = 200


_FOOTERS = {
    "en": "What we write to you, and how to stop it: {url}",
    "es": "Qué te escribimos y cómo dejar de recibirlo: {url}",
}


class UnknownTemplate(CommerceError):
    """There is no message template of this name."""

    code = "unknown_template"
    template: str
    known: list[str]


class ParameterMissing(CommerceError):
    """The template speaks of something that was not given."""

    code = "message_parameter_missing"
    template: str
    missing: list[str]


class Said(msgspec.Struct, frozen=True):
    """One message's words. Only mail and push have a subject, only some mail has HTML."""

    subject: str
    body: str
    html: str | None = None


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=False,  # noqa: S701  plain text, no markup
    undefined=StrictUndefined,
    trim_blocks=True,
    auto_reload=False,
)


def check(template: str, parameters: Mapping[str, Any]) -> None:
    """Raises `UnknownTemplate` and `ParameterMissing`."""
    if template not in SAMPLES:
        raise UnknownTemplate(template=template, known=sorted(SAMPLES))
    if missing := sorted(SAMPLES[template].keys() - parameters.keys()):
        raise ParameterMissing(template=template, missing=missing)


def say(template: str, channel: str, locale: str, zone: str, parameters: Mapping[str, Any]) -> Said:
    """The words of a message; amounts and moments are spoken as its language and zone have it."""
    builtin = _builtin(template, locale)
    # Shared: the parameters as they are, not merged with globals, which costs more than all else.
    about = builtin.new_context(spoken(parameters, locale, zone), shared=True)
    subject = "" if channel in {"sms", "whatsapp"} else _block(builtin, "subject", about)
    body = _block(builtin, "text" if channel == "email" else "short", about)
    return Said(bounded(" ".join(subject.split()), MAX_SUBJECT), _bounded_for(channel, body))


def footer(locale: str, url: str) -> str:
    """The line that leads to the person's preferences."""
    return _FOOTERS[locale].format(url=url)


def bounded(text: str, limit: int) -> str:
    """A text that is cut, visibly, where it is too long."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _bounded_for(channel: str, body: str) -> str:
    return bounded(body, MAX_CHARACTERS[channel])


@cache
def _builtin(template: str, locale: str) -> Template:
    assert locale in LOCALES, locale
    return _environment.get_template(f"{template}.{locale}.txt")


def _block(template: Template, name: str, about: Context) -> str:
    """One block alone, without the rest of its file."""
    return "".join(template.blocks[name](about)).strip()
