"""Which shoppers may be one person: noticed and suggested, merged only by somebody who decides.

What a shopper signs in with, gives with an order or pays with leaves traits. Two who share one may
be one person; a reason says whether both have shown what they share (`proven`), or it was only
typed (`told`). A suggestion that was dismissed, or whose merge was undone, is not made again. The
actor `match_shoppers` learns from events, so no checkout waits for this.
"""

from commerce.matching.comparing import Compared, Field, Preview, Sighting, preview
from commerce.matching.merging import MergeUnproven, merge
from commerce.matching.suggestions import Duplicate, dismiss, suggested, undo
from commerce.matching.traits import TOO_COMMON, Reason, learn

__all__ = [
    "TOO_COMMON",
    "Compared",
    "Duplicate",
    "Field",
    "MergeUnproven",
    "Preview",
    "Reason",
    "Sighting",
    "dismiss",
    "learn",
    "merge",
    "preview",
    "suggested",
    "undo",
]
