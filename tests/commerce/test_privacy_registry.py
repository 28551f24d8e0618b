"""No table with personal data is forgotten: the registry is compared with the schema."""

import re

from commerce.kernel.sql import metadata
from commerce.privacy.registry import HOLDINGS, NAMES_NOBODY, STAYS

PERSON = re.compile(
    r"(^|_)(shopper|contact|visitor|person|recipient|e?mail|phone|address|addresses|principal"
    r"|customer|guest|birthday|loyalty|fingerprint|last4|ip|token)(_|$)"
)
"""Parts of the name of a column that may name a person, or by which one is reached."""

WORDS = re.compile(
    r"(^|_)(reason|comment|note|text|body|words|query|subject|rejection|why|message|answer)(_|$)"
)
"""Parts of the name of a column that may hold what somebody wrote."""

HELD = {each.table for each in HOLDINGS}
CLOSED_WORDS = {
    "message_template": "Texts of the retailer's, which name nobody.",
    "refused_stock_line": "Why a line of an import file was refused.",
    "stock_ledger": "Why a counter changed; references are ids.",
    "unsellable_stock": "Why goods cannot be sold, of a closed set.",
}
"""Tables with words that no shopper, and nobody about a shopper, can write."""


def suspects(pattern: re.Pattern[str]) -> dict[str, list[str]]:
    """Tables with such columns."""
    found = {
        table.name: [column.name for column in table.c if pattern.search(column.name)]
        for table in metadata.tables.values()
    }
    return {name: columns for name, columns in found.items() if columns}


def test_every_table_that_may_name_a_person_is_in_the_registry() -> None:
    named = suspects(PERSON)
    assert len(named) > 20
    forgotten = {n: c for n, c in named.items() if n not in HELD and n not in NAMES_NOBODY}
    assert forgotten == {}, "list it as a Holding of its noun, or in NAMES_NOBODY with the reason"


def test_every_table_with_free_words_is_in_the_registry() -> None:
    worded = suspects(WORDS)
    known = HELD | NAMES_NOBODY.keys() | CLOSED_WORDS.keys()
    assert {n: c for n, c in worded.items() if n not in known} == {}


def test_the_registry_names_only_tables_that_there_are() -> None:
    assert (HELD | NAMES_NOBODY.keys() | CLOSED_WORDS.keys()) - metadata.tables.keys() == set()
    assert HELD.isdisjoint(NAMES_NOBODY)
    assert len(HELD) == len(HOLDINGS)


def test_what_is_not_emptied_says_why() -> None:
    kept = {each.table for each in HOLDINGS if each.erase is None}
    assert kept <= STAYS.keys()
    assert all(STAYS.values())
    assert all(NAMES_NOBODY.values())
