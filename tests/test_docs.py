"""What the pages in `docs/` say is compared with the code: addresses, refusals, who sees what."""

import re
from pathlib import Path
from typing import get_args

import pytest

from api.problems import PROBLEMS
from commerce.clienteling import FIELDS, ViewPurpose
from commerce.consents import SERVING, WRITING
from tests.operations import documented

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {page.stem: page.read_text() for page in sorted(DOCS.glob("*.md"))}
README = (DOCS.parent / "README.md").read_text()
NAMED = re.compile(r"`(GET|POST|PUT|PATCH|DELETE)\s(/v1/[^`?]*)`")
REFUSAL = re.compile(r"^\| `(\w+)` \| (\d{3}) \|", re.MULTILINE)

TOLD = {
    "shoppers": (
        "/v1/sign-ins", "/v1/sessions", "/v1/profile", "/v1/carts", "/v1/lists", "/v1/shared-lists",
        "/v1/browsing-events",
    ),
    "clienteling": (
        "/v1/store/shopper-look-ups", "/v1/store/shopper-views", "/v1/store/carts",
        "/v1/store/cart-claims", "/v1/store/client-book", "/v1/store/clients", "/v1/store/outreach",
    ),
    "people": (
        "/v1/backoffice/messages", "/v1/backoffice/message-templates", "/v1/backoffice/quiet-hours",
        "/v1/backoffice/follow-ups", "/v1/backoffice/answers", "/v1/backoffice/shopper-views",
        "/v1/backoffice/shopper-look-ups", "/v1/backoffice/duplicates", "/v1/backoffice/merges",
        "/v1/backoffice/shoppers", "/v1/backoffice/erasures", "/v1/webhooks/messages",
        "/v1/backoffice/stopped-addresses",
    ),
}  # fmt: skip
"""Page -> the beginnings of the addresses that it is about."""


def operations() -> set[str]:
    """Of the OpenAPI document."""
    return {
        f"{method.upper()} {path}" for path, of in documented()["paths"].items() for method in of
    }


def test_every_page_is_linked_from_the_readme() -> None:
    assert PAGES.keys() == TOLD.keys()
    assert [page for page in PAGES if f"(docs/{page}.md)" not in README] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_address_that_a_page_names_is_there(page: str) -> None:
    named = {" ".join(each) for each in NAMED.findall(PAGES[page])}
    assert len(named) >= 5
    assert named - operations() == set()


@pytest.mark.parametrize("page", TOLD)
def test_a_page_tells_all_that_it_is_about(page: str) -> None:
    resources = {path.split(" ")[1] for path in operations()}
    assert [path for path in TOLD[page] if not any(r.startswith(path) for r in resources)] == []
    assert [path for path in TOLD[page] if path not in PAGES[page]] == []


def test_each_refusal_has_the_status_that_a_page_says() -> None:
    statuses = {error.code: row.status for error, row in PROBLEMS.items()}
    said = [
        (code, int(status)) for text in PAGES.values() for code, status in REFUSAL.findall(text)
    ]
    assert len(said) > 30
    assert [each for each in said if statuses.get(each[0]) != each[1]] == []


def test_the_tablets_page_says_what_each_purpose_shows_and_what_that_needs() -> None:
    purposes = get_args(ViewPurpose)
    rows = re.findall(
        r"^\| `([\w.]+)` \|((?:(?: yes)? \|){4}) (.*?) \|$", PAGES["clienteling"], re.MULTILINE
    )
    told = {
        path: (
            frozenset(
                purpose
                for purpose, cell in zip(purposes, cells.split("|"), strict=False)
                if cell.strip() == "yes"
            ),
            needs.strip("`"),
        )
        for path, cells, needs in rows
    }
    shown = {path: (rule.purposes, str(rule.needs)) for path, rule in FIELDS.items()}
    # A field is told apart only where it is shown otherwise than the part that it stands in.
    assert told == {
        path: how
        for path, how in shown.items()
        if path != "in_hand" and (path == part_of(path) or how != shown[part_of(path)])
    }


def part_of(path: str) -> str:
    """The part of a view that a field stands in; what is in hand has parts of its own."""
    return ".".join(path.split(".")[: 2 if path.startswith("in_hand.") else 1])


def test_the_shoppers_page_names_each_purpose_of_a_consent() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", PAGES["shoppers"], re.MULTILINE)
    assert dict(rows) == dict.fromkeys(SERVING, "no") | dict.fromkeys(WRITING, "yes")
