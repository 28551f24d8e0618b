"""Who may do what: keys, sessions, associates and their PINs, permissions, the staff record.

Every request comes with a key, some with a session of a shopper or an associate on top; together
they are a `Principal`. Keys and sessions are stored as digests, PINs by argon2. A revoked key ends
its sessions; a key that was rotated and runs out does not, its sessions go on under the new one.
Every write of staff is on record (`record_staff`), in the transaction of the write.
"""

from commerce.access.associates import (
    Associate,
    SignInRefused,
    StoreNotAllowed,
    associates,
    hash_new_pins,
    put_associate,
    sign_in,
)
from commerce.access.keys import (
    Key,
    KeyInvalid,
    KeyName,
    Origin,
    all_origins,
    create_key,
    keys,
    revoke_key,
    rotate_key,
)
from commerce.access.principal import (
    OPERATOR,
    PERMISSIONS,
    Channel,
    KeyKind,
    PermissionDenied,
    Principal,
    Role,
    SessionRequired,
    in_scope,
    permissions_of,
)
from commerce.access.record import StaffEntry, record_staff, staff_record_page, words_about
from commerce.access.sessions import (
    FRESH,
    FreshSignInRequired,
    SessionInvalid,
    StartedSession,
    authenticate,
    end_of_shopper,
    end_session,
    forget_sessions,
    require_fresh,
    start_shopper_session,
)

__all__ = [
    "FRESH",
    "OPERATOR",
    "PERMISSIONS",
    "Associate",
    "Channel",
    "FreshSignInRequired",
    "Key",
    "KeyInvalid",
    "KeyKind",
    "KeyName",
    "Origin",
    "PermissionDenied",
    "Principal",
    "Role",
    "SessionInvalid",
    "SessionRequired",
    "SignInRefused",
    "StaffEntry",
    "StartedSession",
    "StoreNotAllowed",
    "all_origins",
    "associates",
    "authenticate",
    "create_key",
    "end_of_shopper",
    "end_session",
    "forget_sessions",
    "hash_new_pins",
    "in_scope",
    "keys",
    "permissions_of",
    "put_associate",
    "record_staff",
    "require_fresh",
    "revoke_key",
    "rotate_key",
    "sign_in",
    "staff_record_page",
    "start_shopper_session",
    "words_about",
]
