"""Outreach: an associate writes to the shoppers whom they serve, within what those allow.

Owns `client_book_entry` and `outreach`. A shopper comes into a client book through an open view and
with consent to personal service, and leaves it when that is withdrawn; a store has one associate
for each shopper. An associate chooses a template and may add a line; where the message goes they do
not learn. What came of it is tracked: delivered, answered, visited, bought.
"""

from commerce.outreach.book import (
    Client,
    ClientOfColleague,
    Entry,
    add_client,
    clients,
    pass_on,
    remove_client,
)
from commerce.outreach.hearing import ATTRIBUTED_WITHIN, hear
from commerce.outreach.tracking import Outcome, Outreach, Stage, note_outcome, outreach_page
from commerce.outreach.writing import (
    CAP,
    CAP_WINDOW,
    TEMPLATES,
    OutreachCapReached,
    Sent,
    ShopperUnreachable,
    Template,
    write,
)

__all__ = [
    "ATTRIBUTED_WITHIN",
    "CAP",
    "CAP_WINDOW",
    "TEMPLATES",
    "Client",
    "ClientOfColleague",
    "Entry",
    "Outcome",
    "Outreach",
    "OutreachCapReached",
    "Sent",
    "ShopperUnreachable",
    "Stage",
    "Template",
    "add_client",
    "clients",
    "hear",
    "note_outcome",
    "outreach_page",
    "pass_on",
    "remove_client",
    "write",
]
