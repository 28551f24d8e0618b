"""The last words of a start: where things are, how to sign in, and three lines to try."""

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
    body = msgspec.json.encode(
        {
            "lines": [{"sku": keys.sku, "quantity": 1}],
            "pickup": {"store_id": keys.store_id},
            "contact": {"name": "Ana Prueba", "email": "ana@example.com"},
            "tender": {"kind": "pay_at_pickup"},
            "total": {"amount_minor": keys.price_minor, "currency": keys.currency},
        }
    ).decode()
    near = f"latitude={keys.latitude}&longitude={keys.longitude}"
    return f"""{places}
  Storefront key    {keys.storefront}
  Back office key   {keys.back_office}
  Store tablet key  {keys.tablet}
  At the tablet     {keys.store_name}, associate {keys.associate_code}, PIN {keys.pin}

  Where can I pick up {keys.sku} today?
    curl -s '{running.api_url}/v1/availability?sku={keys.sku}&{near}' \\
      -H 'Authorization: Bearer {keys.storefront}'
  An order in one call:
    curl -s '{running.api_url}/v1/orders' -H 'Authorization: Bearer {keys.storefront}' \\
      -H "Idempotency-Key: try-$(date +%s)" -H 'Content-Type: application/json' \\
      -d '{body}'
  What waits to be picked at {keys.store_name}?
    curl -s '{running.api_url}/v1/pickups' -H 'Authorization: Bearer {keys.tablet}'
"""
