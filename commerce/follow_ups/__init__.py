"""Follow-ups: what a shopper is told a while after something happened, if it is still worth it.

    scheduled -> sent | stopped | skipped ; stopped, skipped -> scheduled

Owns `follow_up`, `follow_up_settings`, `watch` and `answer`. A trigger (`abandoned_cart`,
`pickup_reminder`, `back_in_stock`, `after_purchase`) schedules one follow-up for a subject; when it
is due everything is looked at afresh: whether its reason still stands, whether the person has
bought in any channel, consent, the frequency cap, quiet hours. One that was sent stays the only one
of its trigger about its subject, however often anything here is repeated.

That a pickup is ready is told at once, so it is a message of the order (`messages.tell`).
"""

from commerce.follow_ups.answers import Answer, Question, answers, put_answer, questions
from commerce.follow_ups.hearing import CONVERTED_WITHIN, hear
from commerce.follow_ups.numbers import Numbers, numbers
from commerce.follow_ups.sending import run_due
from commerce.follow_ups.settings import (
    DEFAULTS,
    TRIGGERS,
    Settings,
    Trigger,
    change_settings,
    settings,
)
from commerce.follow_ups.watches import (
    MAX_WATCHES,
    InStock,
    TooManyWatches,
    Watch,
    call_waiting,
    end_watch,
    put_watch,
    watches,
)

__all__ = [
    "CONVERTED_WITHIN",
    "DEFAULTS",
    "MAX_WATCHES",
    "TRIGGERS",
    "Answer",
    "InStock",
    "Numbers",
    "Question",
    "Settings",
    "TooManyWatches",
    "Trigger",
    "Watch",
    "answers",
    "call_waiting",
    "change_settings",
    "end_watch",
    "hear",
    "numbers",
    "put_answer",
    "put_watch",
    "questions",
    "run_due",
    "settings",
    "watches",
]
