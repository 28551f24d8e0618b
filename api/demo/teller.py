"""How the story is told: steps, what happens in them, and how stock and money stand after each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from commerce.kernel.money import Money, display

INDENT = " " * 6


class Teller:
    """Writes to the terminal; colours only where there is one."""

    def __init__(self, *, pause: bool) -> None:
        self._pause = pause
        self._steps = 0

    def step(self, title: str) -> None:
        """Something new begins."""
        if self._pause and self._steps:
            click.pause(f"\n{INDENT}press a key ")
        self._steps += 1
        click.echo()
        click.echo(click.style(f"{self._steps:4}  {title}", bold=True))

    def say(self, text: str) -> None:
        """What happens."""
        click.echo(f"{INDENT}{text}")

    def stock(self, text: str) -> None:
        """How goods stand."""
        self._ledger("stock", text, "cyan")

    def money(self, text: str) -> None:
        """How money stands."""
        self._ledger("money", text, "green")

    def end(self, text: str) -> None:
        """The last words."""
        click.echo(f"\n{INDENT}{text}")

    def failed(self, expected: str, found: str) -> None:
        """Something was not as told."""
        click.echo(click.style(f"\n{INDENT}Not as told. Expected: {expected}.", fg="red"))
        click.echo("\n".join(f"{INDENT}{line}" for line in found.splitlines()))

    @staticmethod
    def _ledger(word: str, text: str, colour: str) -> None:
        click.echo(f"{INDENT}{click.style(word, fg=colour)}  {text}")


def money(amount: dict[str, Any]) -> str:
    """An amount as the API sends it, for people."""
    return display(Money(amount["amount_minor"], amount["currency"]))


def moment(text: str, time_zone: str) -> str:
    """A time as the API sends it, on the clock of a store."""
    return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(time_zone)):%A %H:%M}"


def units(count: int) -> str:
    """So many of something."""
    return f"{count} unit" if count == 1 else f"{count} units"


def payments(order: dict[str, Any]) -> Sequence[str]:
    """What each payment of an order has done with the shopper's money."""
    return [_payment(each) for each in order["payments"]] or ["nothing is paid yet"]


def _payment(paid: dict[str, Any]) -> str:
    card = paid["card"]
    tender = f"{card['brand']} ..{card['last4']}" if card else paid["tender"].replace("_", " ")
    names = ("captured", "refunded") if paid["state"] == "captured" else ("authorized",)
    parts = [f"{money(paid[name])} {name}" for name in names if paid[name]["amount_minor"]]
    if paid["state"] == "voided":
        parts.append("voided, so nothing was taken")
    return f"{tender}: {', '.join(parts) or 'nothing authorized'}"
