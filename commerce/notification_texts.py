"""What shoppers are told, in Spanish and English, as mail and as a short text message."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_datetime, format_time, get_day_names
from jinja2 import Environment, StrictUndefined, Template

from commerce.kernel.money import Money, display
from commerce.opening_hours import Week
from commerce.stores import Store

LOCALES = {"en": "en_US", "es": "es_MX"}
_DAY_MINUTES = 24 * 60


class Text(msgspec.Struct, frozen=True):
    """One message's templates: a mail has a subject and a body, a text message is one line."""

    subject: str
    body: str
    short: str


PLACE = """{{ store.name }}
{{ store.address.street }}, {{ store.address.city }}
{{ hours }}
"""

TEXTS: dict[tuple[str, str], Text] = {
    ("order_placed", "en"): Text(
        subject="Your order {{ number }}",
        body="""Hello {{ name }},

thank you for your order {{ number }} of {{ total }}.
{% if promised_at %}
We will tell you when you can pick it up, about {{ promised_at }}, at:

"""
        + PLACE
        + "{% endif %}",
        short="Your order {{ number }} of {{ total }}: we tell you when it is ready.",
    ),
    ("order_placed", "es"): Text(
        subject="Tu pedido {{ number }}",
        body="""Hola {{ name }}:

gracias por tu pedido {{ number }} de {{ total }}.
{% if promised_at %}
Te avisamos cuando puedas recogerlo, hacia {{ promised_at }}, en:

"""
        + PLACE
        + "{% endif %}",
        short="Tu pedido {{ number }} de {{ total }}: te avisamos cuando esté listo.",
    ),
    ("pickup_ready", "en"): Text(
        subject="Your order {{ number }} is ready for pickup",
        body="""Hello {{ name }},

your order {{ number }} is waiting for you at {{ store.name }}.

Pickup code: {{ code }}

Show it at the counter{% if expires_at %} until {{ expires_at }}{% endif %}.

"""
        + PLACE,
        short="Order {{ number }} is ready at {{ store.name }}. Pickup code {{ code }}"
        "{% if expires_at %}, until {{ expires_at }}{% endif %}.",
    ),
    ("pickup_ready", "es"): Text(
        subject="Tu pedido {{ number }} está listo",
        body="""Hola {{ name }}:

tu pedido {{ number }} te espera en {{ store.name }}.

Código para recogerlo: {{ code }}

Enséñalo en el mostrador{% if expires_at %} hasta el {{ expires_at }}{% endif %}.

"""
        + PLACE,
        short="Pedido {{ number }} listo en {{ store.name }}. Código {{ code }}"
        "{% if expires_at %}, hasta el {{ expires_at }}{% endif %}.",
    ),
    ("order_cancelled", "en"): Text(
        subject="Your order {{ number }} was cancelled",
        body="""Hello {{ name }},

your order {{ number }} of {{ total }} was cancelled. What was held on a card is released.
""",
        short="Your order {{ number }} was cancelled. What was held on a card is released.",
    ),
    ("order_cancelled", "es"): Text(
        subject="Tu pedido {{ number }} se canceló",
        body="""Hola {{ name }}:

tu pedido {{ number }} de {{ total }} se canceló. Si retuvimos un importe en tu tarjeta, se libera.
""",
        short="Tu pedido {{ number }} se canceló. Lo retenido en tu tarjeta se libera.",
    ),
    ("refund_made", "en"): Text(
        subject="Your refund for order {{ number }}",
        body="""Hello {{ name }},

we have refunded {{ amount }} of your order {{ number }}.
{% if tender == "card" %}
Your bank shows it within a few days.
{% endif %}""",
        short="We have refunded {{ amount }} of your order {{ number }}.",
    ),
    ("refund_made", "es"): Text(
        subject="El reembolso de tu pedido {{ number }}",
        body="""Hola {{ name }}:

te reembolsamos {{ amount }} de tu pedido {{ number }}.
{% if tender == "card" %}
Tu banco lo muestra en unos días.
{% endif %}""",
        short="Te reembolsamos {{ amount }} de tu pedido {{ number }}.",
    ),
}

TEMPLATES = frozenset(template for template, _ in TEXTS)

_environment = Environment(
    autoescape=False,  # noqa: S701  plain text, no markup
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=False,
)


@cache
def _compiled(template: str, locale: str) -> tuple[Template, Template, Template]:
    text = TEXTS[template, locale]
    subject, body, short = map(_environment.from_string, (text.subject, text.body, text.short))
    return subject, body, short


def render(
    template: str, locale: str, *, channel: str, about: Mapping[str, Any]
) -> tuple[str, str]:
    """Subject and body; a text message has no subject."""
    subject, body, short = _compiled(template, locale)
    if channel == "sms":
        return "", short.render(about)
    return subject.render(about), body.render(about)


@lru_cache(maxsize=4096)
def amount(amount_minor: int, currency: str, locale: str) -> str:
    """Money as people write it."""
    return display(Money(amount_minor, currency), LOCALES[locale])


@lru_cache(maxsize=4096)
def moment(at: datetime, zone: str, locale: str) -> str:
    """Day and time on the store's clock: `Friday, November 27, 6:00 PM`."""
    pattern = "EEEE, MMMM d, h:mm a" if locale == "en" else "EEEE d 'de' MMMM, HH:mm"
    return str(format_datetime(at, pattern, tzinfo=ZoneInfo(zone), locale=LOCALES[locale]))


def hours(of: Store, locale: str) -> str:
    """The week's opening hours, days that are alike in one line."""
    return _hours(of.opening_hours, locale)


@lru_cache(maxsize=1024)
def _hours(week: Week, locale: str) -> str:
    spans: list[tuple[int, int]] = []
    for day, ranges in enumerate(week):
        if spans and week[spans[-1][0]] == ranges:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    names = get_day_names("abbreviated", locale=LOCALES[locale])
    closed = {"en": "closed", "es": "cerrado"}[locale]
    lines = []
    for first, last in spans:
        days = names[first] if first == last else f"{names[first]} - {names[last]}"
        times = ", ".join(
            f"{_clock(begins, locale)} - {_clock(ends, locale)}" for begins, ends in week[first]
        )
        lines.append(f"{days}: {times or closed}")
    return "\n".join(lines)


def _clock(minute: int, locale: str) -> str:
    if minute == _DAY_MINUTES:
        return {"en": "midnight", "es": "24:00"}[locale]
    hour, left = divmod(minute, 60)
    pattern = "h:mm a" if locale == "en" else "HH:mm"
    at = datetime(2000, 1, 1, hour, left)  # noqa: DTZ001  a time of day, on no day
    return str(format_time(at.time(), pattern, locale=Locale.parse(LOCALES[locale])))
