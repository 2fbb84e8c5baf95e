"""What the producer of the next message is told: accept, defer or reject. Source: behaviours BP-02, BP-03."""

from __future__ import annotations

from ...messages.pressure import Accept, ConsumerCapacity, Defer, PressureSignal, Reject
from ...messages.pressure_errors import CountUnderflow


def decide(*, in_flight: int, max_in_flight: int, buffer_depth: int, max_buffer_depth: int) -> PressureSignal:
    """Say what becomes of the next message.

    A free slot accepts it, also while others are buffered: they are about to be moved into the slots they wait for.
    """
    if in_flight < max_in_flight:
        return Accept(current_in_flight=in_flight, max_in_flight=max_in_flight)
    kind = Defer if buffer_depth < max_buffer_depth else Reject
    return kind(
        current_in_flight=in_flight,
        max_in_flight=max_in_flight,
        buffer_depth=buffer_depth,
        max_buffer_depth=max_buffer_depth,
    )


class PressureTracker:
    """Counts what one consumer holds. It trusts its owner: more may be delivered or buffered than there is room for."""

    def __init__(self, capacity: ConsumerCapacity) -> None:
        self.capacity = capacity
        self.in_flight = 0
        self.buffer_depth = 0

    def __repr__(self) -> str:
        """Show counts and limits."""
        in_flight = f"in flight {self.in_flight}/{self.capacity.max_in_flight}"
        return f"<PressureTracker {in_flight}, buffered {self.buffer_depth}/{self.capacity.max_buffer_depth}>"

    def decide(self) -> PressureSignal:
        """Say what becomes of the next message. Changes nothing."""
        return decide(
            in_flight=self.in_flight,
            max_in_flight=self.capacity.max_in_flight,
            buffer_depth=self.buffer_depth,
            max_buffer_depth=self.capacity.max_buffer_depth,
        )

    def delivered(self) -> None:
        """Count a message that the consumer works on from now."""
        self.in_flight += 1

    def completed(self) -> None:
        """Count one off that it is done with. Raises `CountUnderflow` if there is none."""
        if not self.in_flight:
            raise CountUnderflow("in_flight")
        self.in_flight -= 1

    def buffered(self) -> None:
        """Count a message that waits from now."""
        self.buffer_depth += 1

    def drained(self) -> None:
        """Count one off that waits no more. Raises `CountUnderflow` if there is none."""
        if not self.buffer_depth:
            raise CountUnderflow("buffer_depth")
        self.buffer_depth -= 1
