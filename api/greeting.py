"""The last words of a start: where things are, how to sign in, and three lines to try."""

import textwrap
from typing import Any

import msgspec

from api.sample_keys import SampleKeys
from api.state import Running


def text(running: Running, keys: SampleKeys | None) -> str:
    """What a newcomer needs next. Without sample keys there is nothing to sign in with yet."""
    places = f"""
  Shop API   {running.api_url}/v1
  Docs       {running.api_url}/docs
  Health     {running.api_url}/health
"""
    if keys is None:
        return places
    lines = "\n".join(
        f"\n  {purpose}:\n{textwrap.indent(line, '    ')}"
        for purpose, line in tries(running.api_url, keys).items()
    )
    return f"""{places}
  Storefront key    {keys.storefront}
  Back office key   {keys.back_office}
  Store tablet key  {keys.tablet}
  At the tablet     {keys.store_name}, associate {keys.associate_code}, PIN {keys.pin}
{lines}

  And `mostrador demo` plays the whole story.
"""


def tries(api_url: str, keys: SampleKeys) -> dict[str, str]:
    """Lines for a shell, by what they are for."""
    order = {
        "location_id": keys.store_id,
        "lines": [{"sku": keys.sku, "quantity": 1}],
        "contact": {"name": "Ana Prueba", "email": "ana@example.com"},
        "tender": "pay_at_pickup",
        "total": {"amount_minor": keys.price_minor, "currency": keys.currency},
    }
    sign_in = {"associate_code": keys.associate_code, "pin": keys.pin}
    near = f"latitude={keys.latitude}&longitude={keys.longitude}"
    storefront, tablet = f"-H 'X-API-Key: {keys.storefront}'", f"-H 'X-API-Key: {keys.tablet}'"
    its_session = r"""sed 's/.*"secret":"\([^"]*\)".*/\1/'"""
    return {
        f"Where {keys.sku} can be picked up": (
            f"curl -s {storefront} '{api_url}/v1/availability?sku={keys.sku}&{near}'"
        ),
        f"Order one at {keys.store_name}, paid when it is picked up": (
            f"curl -s {storefront} {api_url}/v1/orders \\\n"
            f'  -H "Idempotency-Key: try-$(date +%s)" {_body(order)}'
        ),
        "Sign in at the store's tablet, and see what is to be picked": (
            f"SESSION=$(curl -s {tablet} {api_url}/v1/store/sessions \\\n"
            f"  {_body(sign_in)} | {its_session})\n"
            f'curl -s {tablet} {api_url}/v1/store/pickups -H "Authorization: Bearer $SESSION"'
        ),
    }


def _body(body: dict[str, Any]) -> str:
    encoded = msgspec.json.encode(body).decode()
    return f"-H 'Content-Type: application/json' -d '{encoded}'"
