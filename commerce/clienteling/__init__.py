"""Associates see shoppers: looked up, viewed for a purpose, cut by consent, and on record.

A look-up tells nobody's identity: it names candidates, each good for one view. What a view shows is
cut field by field by its purpose and by what the shopper allows, and the shopper reads who looked.
"""

from commerce.clienteling.access_log import Look, looks, looks_at, record_shown
from commerce.clienteling.consenting import record_consents
from commerce.clienteling.fields import FIELDS, Rule, Withheld
from commerce.clienteling.looking_up import (
    CANDIDATE_LIFETIME,
    LOOK_UPS_PER_HOUR,
    MAX_CANDIDATES,
    STORE_LOOK_UPS_PER_HOUR,
    Candidate,
    LookedUp,
    LookUp,
    LookUpLimitReached,
    look_up,
    look_ups,
)
from commerce.clienteling.portrait import Portrait
from commerce.clienteling.reading import Shown, show
from commerce.clienteling.searches import LookUpKind, Search
from commerce.clienteling.views import (
    VIEW_LIFETIME,
    CandidateExpired,
    CandidateUsed,
    ConsentMissing,
    Ending,
    PersonMerged,
    Standing,
    View,
    ViewOver,
    ViewPurpose,
    close,
    end,
    end_of_person,
    open_view,
    standing,
    viewing,
)

__all__ = [
    "CANDIDATE_LIFETIME",
    "FIELDS",
    "LOOK_UPS_PER_HOUR",
    "MAX_CANDIDATES",
    "STORE_LOOK_UPS_PER_HOUR",
    "VIEW_LIFETIME",
    "Candidate",
    "CandidateExpired",
    "CandidateUsed",
    "ConsentMissing",
    "Ending",
    "Look",
    "LookUp",
    "LookUpKind",
    "LookUpLimitReached",
    "LookedUp",
    "PersonMerged",
    "Portrait",
    "Rule",
    "Search",
    "Shown",
    "Standing",
    "View",
    "ViewOver",
    "ViewPurpose",
    "Withheld",
    "close",
    "end",
    "end_of_person",
    "look_up",
    "look_ups",
    "looks",
    "looks_at",
    "open_view",
    "record_consents",
    "record_shown",
    "show",
    "standing",
    "viewing",
]
