"""Privacy: all that is held about a person, told to them or erased.

`registry` lists every table with personal data; `export` tells all of it, an `Erasure` empties it.
Orders, books and events stay: they name the person by an id that leads to nobody any more. Owns
`erasure`.
"""

from commerce.privacy.erasing import (
    Erasure,
    State,
    by_id,
    carry_on,
    newest,
    request,
    resume,
    wake,
)
from commerce.privacy.exporting import export
from commerce.privacy.listing import Listed, listed, reapply, unlisted
from commerce.privacy.registry import STAYS
from commerce.privacy.waiting import Wait

__all__ = [
    "STAYS",
    "Erasure",
    "Listed",
    "State",
    "Wait",
    "by_id",
    "carry_on",
    "export",
    "listed",
    "newest",
    "reapply",
    "request",
    "resume",
    "unlisted",
    "wake",
]
