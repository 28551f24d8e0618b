"""What a newcomer needs to try the demo retailer: its keys, and one thing to buy at one store.

Kept beside the embedded database, readable by its owner only. An installation with its own data
has none.
"""

from pathlib import Path
from uuid import UUID

import msgspec

_FILE = "sample_keys.json"


class SampleKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Secrets of the demo retailer; they open nothing else."""

    storefront: str
    tablet: str
    """Of the store below."""
    back_office: str
    store_id: UUID
    store_name: str
    latitude: float
    longitude: float
    associate_code: str
    pin: str
    shopper_email: str
    sku: str
    """In stock at the store below."""
    price_minor: int
    """Of one unit at that store, taxes included: what a one-line order costs."""
    currency: str


def save(state_dir: Path, keys: SampleKeys) -> None:
    """Keep them for the next starts."""
    partial = state_dir / (_FILE + ".partial")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(keys)))
    partial.replace(state_dir / _FILE)


def load(state_dir: Path) -> SampleKeys | None:
    """Those of this state, if the demo retailer was loaded into it."""
    try:
        return msgspec.json.decode((state_dir / _FILE).read_bytes(), type=SampleKeys)
    except FileNotFoundError:
        return None
