"""The retailer's own texts: for a template, a channel and a language, instead of the product's.

A text is tried with an example of each parameter before it is kept, so one that is wrong never
meets a shopper; what is wrong is named with its line. It runs in a sandbox and says only what grows
no faster than the text itself: names, conditions, loops over the lists that are given, a handful of
filters. Nothing is called, calculated or put together, and loops stand in no other loop.
"""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlalchemy import DateTime, Text, any_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal, record_staff
from commerce.consents import MessageChannel
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.messages.speaking import spoken
from commerce.messages.texts import (
    MAX_CHARACTERS,
    MAX_SUBJECT,
    SAMPLES,
    Said,
    UnknownTemplate,
    bounded,
)
from commerce.tables import message_template

Locale = Literal["en", "es"]

_FILTERS = ("capitalize", "default", "escape", "first", "join", "last", "length", "lower", "title",
            "trim", "upper")  # fmt: skip
_NO_SUBJECT = frozenset({"sms", "whatsapp"})
_SAMPLE_ZONE = "America/Mexico_City"
_COMPILED_FILE = "<template>"
"""How the library names a template without a file."""


class TemplateInvalid(CommerceError):
    """The text cannot be used. `line` counts from 1 within the part."""

    code = "template_invalid"
    part: str
    line: int
    reason: str


class OwnText(msgspec.Struct, frozen=True):
    """One text: a mail has all three parts, SMS and WhatsApp only a body, push has no HTML."""

    template: str
    channel: MessageChannel
    locale: Locale
    subject: str
    body: str
    html: str | None
    changed_at: datetime


_SAYING: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.For, nodes.Assign, nodes.CondExpr, nodes.Compare, nodes.Operand,
    nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Filter, nodes.Keyword, nodes.Test,
)  # fmt: skip
"""What a text is made of. What is not here could make a text of any length out of a short one."""


def _sandbox(*, html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        autoescape=html, undefined=StrictUndefined, trim_blocks=True, auto_reload=False
    )
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in _FILTERS}
    return made


_PLAIN, _MARKUP = _sandbox(html=False), _sandbox(html=True)
_KEY = {
    "template": bindparam("of_template", type_=Text()),
    "channel": bindparam("by", type_=Text()),
    "locale": bindparam("speaks", type_=Text()),
}
_GIVEN = {
    "subject": bindparam("given_subject", type_=Text()),
    "body": bindparam("given_body", type_=Text()),
    "html": bindparam("given_html", type_=Text()),
    "changed_at": bindparam("now", type_=DateTime(timezone=True)),
}
PUT = Query(
    upsert(message_template)
    .values(**_KEY, **_GIVEN)
    .on_conflict_do_update(index_elements=list(_KEY), set_=_GIVEN)
    .returning(message_template),
    OwnText,
)
REMOVE = Query(
    delete(message_template)
    .where(*(message_template.c[name] == value for name, value in _KEY.items()))
    .returning(message_template.c.template),
    str,
)
OWN_TEXTS = Query(
    select(message_template)
    .where(message_template.c.template == any_(bindparam("templates", type_=ARRAY(Text()))))
    .order_by(*(message_template.c[name] for name in _KEY)),
    OwnText,
)


async def own_texts(conn: Connection, templates: Sequence[str]) -> list[OwnText]:
    """The retailer's texts for these templates."""
    return await conn.run(OWN_TEXTS, templates=list(templates))


async def put_own_text(
    conn: Connection,
    who: Principal,
    template: str,
    channel: MessageChannel,
    locale: Locale,
    *,
    subject: str,
    body: str,
    html: str | None,
    now: datetime,
) -> OwnText:
    """Use this text from now on. Raises `UnknownTemplate` and `TemplateInvalid`."""
    preview(template, channel, locale, subject=subject, body=body, html=html)
    put = await conn.one(
        PUT, of_template=template, by=channel, speaks=locale, given_subject=subject,
        given_body=body, given_html=html, now=now,
    )  # fmt: skip
    await _record(conn, who, "message_template.changed", template, channel, locale, now)
    return put


async def remove_own_text(
    conn: Connection,
    who: Principal,
    template: str,
    channel: MessageChannel,
    locale: Locale,
    *,
    now: datetime,
) -> None:
    """Use the product's text again. Raises `NotFound` where it is used already."""
    if await conn.first(REMOVE, of_template=template, by=channel, speaks=locale) is None:
        raise NotFound(kind="message template", id=f"{template}/{channel}/{locale}")
    await _record(conn, who, "message_template.removed", template, channel, locale, now)


def preview(
    template: str,
    channel: MessageChannel,
    locale: Locale,
    *,
    subject: str,
    body: str,
    html: str | None,
) -> Said:
    """How a text looks with the examples. Raises `UnknownTemplate` and `TemplateInvalid`."""
    if template not in SAMPLES:
        raise UnknownTemplate(template=template, known=sorted(SAMPLES))
    if subject and channel in _NO_SUBJECT:
        raise TemplateInvalid(part="subject", line=1, reason=f"{channel} has no subject")
    if html is not None and channel != "email":
        raise TemplateInvalid(part="html", line=1, reason=f"{channel} has no HTML")
    about = spoken(SAMPLES[template], locale, _SAMPLE_ZONE)
    said = Said(
        _tried("subject", subject, about, MAX_SUBJECT),
        _tried("body", body, about, MAX_CHARACTERS[channel]),
        None if html is None else _tried("html", html, about, MAX_CHARACTERS[channel]),
    )
    for part, text in (("subject", said.subject), ("body", said.body)):
        if not text and not (part == "subject" and channel in _NO_SUBJECT):
            raise TemplateInvalid(part=part, line=1, reason="It says nothing")
    return said


def say_own(text: OwnText, about: Mapping[str, Any]) -> Said | None:
    """The words of the retailer's text; None where it does not fit what is given after all."""
    try:
        subject = " ".join(_compiled(text.subject, html=False).render(about).split())
        body = _compiled(text.body, html=False).render(about).strip()
        return Said(
            bounded(subject, MAX_SUBJECT),
            bounded(body, MAX_CHARACTERS[text.channel]),
            _compiled(text.html, html=True).render(about) if text.html is not None else None,
        )
    except (TemplateError, TypeError, ValueError):
        return None


@lru_cache(maxsize=512)
def _compiled(source: str, *, html: bool) -> Template:
    return (_MARKUP if html else _PLAIN).from_string(source)


def _tried(part: str, source: str, about: Mapping[str, Any], limit: int) -> str:
    """A part with the examples. Raises `TemplateInvalid` with the line of what is wrong."""
    environment = _MARKUP if part == "html" else _PLAIN
    try:
        parsed = environment.parse(source)
        _check_names(part, parsed, about)
        _check_growth(part, parsed, about)
        text = environment.from_string(source).render(about).strip()
    except TemplateSyntaxError as wrong:
        reason = wrong.message or "it cannot be read"
        raise TemplateInvalid(part=part, line=wrong.lineno, reason=reason) from wrong
    except (RecursionError, SyntaxError) as wrong:
        raise TemplateInvalid(part=part, line=1, reason="It is nested too deeply") from wrong
    except (TemplateError, TypeError, ValueError) as wrong:
        raise TemplateInvalid(part=part, line=_line_of(wrong), reason=str(wrong)) from wrong
    if len(text) > limit:
        reason = f"It has {len(text)} characters with the examples; at most {limit}"
        raise TemplateInvalid(part=part, line=1, reason=reason)
    return text


def _check_names(part: str, parsed: nodes.Template, about: Mapping[str, Any]) -> None:
    """Every name is a parameter, or is set in the text itself."""
    names = list(parsed.find_all(nodes.Name))
    known = about.keys() | {each.name for each in names if each.ctx == "store"} | {"loop"}
    for each in names:
        if each.name not in known:
            reason = f"{each.name} is not one of {_names(about)}"
            raise TemplateInvalid(part=part, line=each.lineno, reason=reason)


def _check_growth(part: str, parsed: nodes.Template, about: Mapping[str, Any]) -> None:
    """Nothing in it makes much out of little: neither memory nor time is anybody's for a text."""
    own = {each.name for each in parsed.find_all(nodes.Name) if each.ctx == "store"}
    lists = {name for name, given in about.items() if isinstance(given, list)} - own
    for each in parsed.find_all(nodes.Node):
        refused = None
        if not isinstance(each, _SAYING):
            refused = f"{type(each).__name__} is not for texts"
        elif (through := _gone_through(each)) is not None:
            if not (isinstance(through, nodes.Name) and through.name in lists):
                refused = f"Only a list that is given is gone through: {_names(lists)}"
            elif any(map(_gone_through, each.find_all((nodes.For, nodes.Filter)))):
                refused = "A list is gone through for each part of another"
        if refused is not None:
            raise TemplateInvalid(part=part, line=each.lineno, reason=refused)


def _gone_through(node: nodes.Node) -> nodes.Node | None:
    """What a loop or `join` takes one by one."""
    if isinstance(node, nodes.For):
        return node.iter
    return node.node if isinstance(node, nodes.Filter) and node.name == "join" else None


def _names(of: Iterable[str]) -> str:
    return ", ".join(sorted(of)) or "there is none"


def _line_of(wrong: BaseException) -> int:
    frames = traceback.extract_tb(wrong.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == _COMPILED_FILE and frame.lineno]
    return lines[-1] if lines else 1


async def _record(
    conn: Connection, who: Principal, action: str, template: str, channel: str, locale: str,
    now: datetime,
) -> None:  # fmt: skip
    subject = f"{template}/{channel}/{locale}"
    await record_staff(conn, who, action=action, subject=subject, changes={}, now=now)
