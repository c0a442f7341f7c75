"""Orders: the moves of one purchase, and no others."""

from itertools import product

import pytest

from databund.core.orders import OrderEvent, OrderState, Step, apply
from databund.errors import IllegalMove
from databund.testing import samples

MOVES = {
    (OrderState.PLACED, OrderEvent.LICENSE): OrderState.LICENSED,
    (OrderState.PLACED, OrderEvent.REFUSE): OrderState.REFUSED,
    (OrderState.REFUSED, OrderEvent.LICENSE): OrderState.LICENSED,
    (OrderState.LICENSED, OrderEvent.DELIVER): OrderState.DELIVERED,
    (OrderState.DELIVERED, OrderEvent.SETTLE): OrderState.SETTLED,
    (OrderState.SETTLED, OrderEvent.CERTIFY): OrderState.CERTIFIED,
}
PAIRS = list(product(OrderState, OrderEvent))


@pytest.mark.parametrize(("state", "event"), MOVES)
def test_an_order_moves_forward(state: OrderState, event: OrderEvent) -> None:
    """Each move leads to its state, and keeps all else of the order."""
    order = samples.order(state=state)
    moved = order.moved(event, reason="because")
    assert moved == samples.order(state=MOVES[state, event], reason="because")


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair not in MOVES])
def test_any_other_move_is_illegal(state: OrderState, event: OrderEvent) -> None:
    """What the table does not hold raises, names both, and changes nothing."""
    with pytest.raises(IllegalMove, match=f"is {state} cannot be moved by {event}") as caught:
        apply(state, event)
    assert (caught.value.code, caught.value.fix) == ("order.illegal_move", "Look at it first: databund order show")
    with pytest.raises(IllegalMove):
        samples.order(state=state).moved(event)


def _reachable(start: OrderState) -> set[OrderState]:
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for (before, _), after in MOVES.items():
            if before is state and after not in found:
                found.add(after)
                waiting.append(after)
    return found


def test_every_state_is_reached_once() -> None:
    """From placed every state can be reached; certified is the end, and there is no way back."""
    assert _reachable(OrderState.PLACED) == set(OrderState)
    assert _reachable(OrderState.CERTIFIED) == {OrderState.CERTIFIED}
    assert all(before not in _reachable(after) for (before, _), after in MOVES.items())


def test_what_was_paid_is_never_refused() -> None:
    """An order that is licensed can no longer be refused, by whichever path."""
    assert OrderState.REFUSED not in _reachable(OrderState.LICENSED)


def test_a_refused_order_can_still_be_licensed() -> None:
    """A payment that somebody else brought to the chain licenses the order that was refused here."""
    refused = samples.order(state=OrderState.REFUSED, reason="because")
    assert refused.moved(OrderEvent.LICENSE) == samples.order(state=OrderState.LICENSED, reason=None)


def test_the_six_steps_are_named_in_chinese() -> None:
    """The steps are those of the Shanghai Data Exchange, in order."""
    assert [step.zh for step in Step] == ["登记", "挂牌", "交易", "交付", "清结算", "凭证"]
