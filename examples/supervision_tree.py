"""A supervisor of your own actors: one crashes, its supervisor starts it again, and the tree shows it."""

import queue
from typing import Any

from pykka import ActorRef

from limen.actors import ChildSpec, LinkedActor, RestartIntensity, SupervisorActor, WhichChildren, format_tree, tree

born: queue.Queue[int] = queue.Queue()


class Counter(LinkedActor):
    """Counts what it is sent; a text is more than it can bear."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.count = start

    def on_start(self) -> None:
        born.put(self.count)

    def on_receive(self, message: object) -> int:
        assert isinstance(message, int), f"cannot count {message!r}"
        self.count += message
        return self.count


def children_of(supervisor: ActorRef[Any]) -> list[ActorRef[Any]]:
    """List them in the order in which they were given."""
    rows: Any = supervisor.ask(WhichChildren())
    return [row.ref for row in rows]


def main() -> None:
    """Crash one child of two and look at both."""
    supervisor = SupervisorActor.start(
        [ChildSpec(id="first", start=Counter, args=(0,)), ChildSpec(id="second", start=Counter, args=(100,))],
        intensity=RestartIntensity(max_restarts=3, within_s=5.0),
    )
    first, second = children_of(supervisor)
    assert (born.get(timeout=10), born.get(timeout=10)) == (0, 100)
    assert first.ask(5) == 5

    first.tell("five")
    assert born.get(timeout=10) == 0, "it begins anew"
    again, sibling = children_of(supervisor)
    print(format_tree())
    assert again != first
    assert again.ask(1) == 1
    assert sibling == second, "its sibling has noticed nothing"

    supervisor.stop()
    assert tree() == (), "the children are stopped before their supervisor, the last one first"


main()
