"""The pure decisions of payments: how refunds spread, and what the provider's answers mean."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from commerce.kernel.ids import uuid7
from commerce.payments import Operation, Payment, Refundable, Told, spread
from commerce.payments.outcomes import decide
from commerce.provider import (
    Authorized,
    Captured,
    Created,
    Declined,
    Lapsed,
    PaymentOutcome,
    Processing,
    RequiresAction,
    Voided,
)
from commerce.states import OPERATION, PAYMENT

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HELD = Authorized("pi_1", 1_000, None, "print", "visa", "4242")
OUTCOMES: tuple[PaymentOutcome, ...] = (
    HELD,
    Created("pi_1", "secret"),
    RequiresAction("pi_1", "secret", "http://bank.example"),
    Processing("pi_1"),
    Declined("pi_1", "lost_card", "card_declined"),
    Captured("pi_1", 1_000),
    Voided("pi_1"),
    Lapsed("pi_1"),
)
AMOUNTS = st.integers(min_value=0, max_value=10**12)


def refundables(left: list[int]) -> list[Refundable]:
    return [Refundable(UUID(int=number), amount) for number, amount in enumerate(left)]


@settings(max_examples=1_000)
@given(AMOUNTS, st.lists(AMOUNTS, max_size=6))
def test_a_refund_is_spread_without_loss_and_never_beyond_what_is_left(
    amount_minor: int, left: list[int]
) -> None:
    shares = spread(amount_minor, refundables(left))
    if amount_minor > sum(left):
        assert shares is None
        return
    assert shares is not None
    assert sum(share for _, share in shares) == amount_minor
    for payment_id, share in shares:
        assert 0 < share <= left[payment_id.int]
    used = [payment_id.int for payment_id, _ in shares]
    assert used == sorted(set(used))
    for number in used[:-1]:  # it spills over only when a source is empty
        assert dict(shares)[UUID(int=number)] == left[number]


def test_a_refund_spills_to_the_next_tender() -> None:
    assert spread(700, refundables([500, 0, 300])) == [(UUID(int=0), 500), (UUID(int=2), 200)]
    assert spread(801, refundables([500, 0, 300])) is None
    assert spread(0, refundables([500])) == []


def a_payment(state: str) -> Payment:
    held = state in {"authorized", "captured", "voided", "lapsed"}
    return Payment(
        id=uuid7(), order_id=uuid7(), fulfillment_id=uuid7(), tender="card", state=state,
        currency="MXN", amount_minor=1_000, authorized_minor=1_000 if held else 0,
        captured_minor=1_000 if state == "captured" else 0, refunded_minor=0, provider_id="pi_1",
        payment_method="pm_1", return_url=None, redirect_url=None, decline_code=None,
        card_brand=None, card_last4=None, card_fingerprint=None, reference=None,
        capture_before=None, deadline_at=None, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def an_operation(of: Payment, kind: str, state: str = "pending") -> Operation:
    return Operation(
        payment_id=of.id,
        kind=kind,
        state=state,
        amount_minor=1_000,
        actor="test",
        created_at=NOW,
        updated_at=NOW,
    )


@settings(max_examples=1_000)
@given(
    st.sampled_from(sorted(PAYMENT)),
    st.lists(st.tuples(st.sampled_from(("authorize", "capture", "void", "refund")),
                       st.sampled_from(sorted(OPERATION))), max_size=3),
    st.sampled_from(OUTCOMES),
    st.booleans(),
    st.one_of(st.none(), st.just("resource_missing")),
)  # fmt: skip
def test_no_answer_moves_a_payment_out_of_its_life_cycle_and_repeating_it_changes_nothing(
    state: str,
    kinds: list[tuple[str, str]],
    outcome: PaymentOutcome,
    asked: bool,
    refusal: str | None,
) -> None:
    before = a_payment(state)
    operations = {op.id: op for op in (an_operation(before, kind, s) for kind, s in kinds)}
    told = Told(outcome, next(iter(operations), None) if asked else None, refusal)
    decided = decide(before, list(operations.values()), told, now=NOW)
    after = decided.payment
    steps = {state} | PAYMENT[state] | {s for middle in PAYMENT[state] for s in PAYMENT[middle]}
    assert after.state in steps
    assert 0 <= after.captured_minor <= after.authorized_minor <= after.amount_minor
    for changed in decided.operations:
        was = operations[changed.id].state
        assert changed.state == was or changed.state in OPERATION[was]
        assert changed.kind != "refund"
        operations[changed.id] = changed
    again = decide(
        after, list(operations.values()), replace(told, asked=None, refusal=None), now=NOW
    )
    assert again.payment == after
    assert not [event for event in again.events if event.type == "payment.authorized"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_money_is_never_said_to_be_held_or_taken_unless_the_provider_says_so(
    outcome: PaymentOutcome,
) -> None:
    before = a_payment("pending")
    ask = an_operation(before, "authorize")
    after = decide(before, [ask], Told(outcome, ask.id), now=NOW).payment
    assert (after.authorized_minor, after.captured_minor) == {
        Authorized: (1_000, 0),
        Captured: (1_000, 1_000),
    }.get(type(outcome), (0, 0))


def test_decline_that_was_only_seen_does_not_judge_the_card_that_is_being_asked() -> None:
    before = a_payment("pending")
    ask = an_operation(before, "authorize")
    declined = Declined("pi_1", "lost_card", "card_declined")
    assert decide(before, [ask], Told(declined), now=NOW).payment == before
    at_the_bank = replace(before, state="requires_action")
    seen = decide(at_the_bank, [ask], Told(declined), now=NOW)
    assert (seen.payment.state, seen.payment.decline_code) == ("pending", "lost_card")
    assert [op.state for op in seen.operations] == ["failed"]


def test_money_held_for_a_payment_that_was_given_up_is_given_back() -> None:
    before = a_payment("failed")
    decided = decide(before, [], Told(HELD), now=NOW)
    assert (decided.payment, decided.void) == (before, True)


def test_capture_refused_while_the_hold_lives_leaves_the_amount_due() -> None:
    before = a_payment("authorized")
    ask = an_operation(before, "capture")
    decided = decide(before, [ask], Told(HELD, ask.id, "amount_too_large"), now=NOW)
    assert decided.payment == before
    assert [(op.state, op.failure_code) for op in decided.operations] == [
        ("failed", "amount_too_large")
    ]
    assert [event.type for event in decided.events] == ["payment.capture_failed", "payment.due"]


def test_hold_that_was_captured_while_we_wanted_it_voided_counts_as_captured() -> None:
    before = a_payment("authorized")
    void = an_operation(before, "void", "unknown")
    decided = decide(before, [void], Told(Captured("pi_1", 1_000)), now=NOW)
    assert (decided.payment.state, decided.payment.captured_minor) == ("captured", 1_000)
    assert [(op.state, op.failure_code) for op in decided.operations] == [("failed", "captured")]
