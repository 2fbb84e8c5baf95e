"""Who an actor is, wherever it was started."""

import queue
from typing import Any

from pykka import ThreadingActor

from limen.actors import ChildSpec, LinkedActor, StartChild, SupervisorActor, watch


class Echo(LinkedActor):
    """Does nothing in particular."""


class Stillborn(LinkedActor):
    """Fails as it starts."""

    def on_start(self):
        """Fail."""
        raise RuntimeError("no fuel")


def test_actors_of_two_supervisors_are_never_taken_for_each_other():
    """GR-01: a ref carries an identity that is unique in the process, and can be a key."""
    supervisors = [SupervisorActor.start(), SupervisorActor.start()]
    try:
        refs: list[Any] = [each.ask(StartChild(ChildSpec(id="same", start=Echo)), timeout=5) for each in supervisors]

        assert refs[0] != refs[1]
        assert len({refs[0], refs[1], refs[0]}) == 2
        assert len({ref.actor_urn for ref in (*refs, *supervisors)}) == 4
    finally:
        for each in supervisors:
            each.stop(timeout=5)


def test_an_actor_that_fails_as_it_starts_is_reported(caplog):
    """GR-04: Pykka calls no hook then; the watch fires all the same, once, with the reason or as gone."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ref = Stillborn.start()
    watch(ref, told.put)

    down = told.get(timeout=5)
    assert down.ref == ref
    assert str(down.reason) in {"RuntimeError: no fuel", "it was already gone"}
    assert told.empty()
    assert "no fuel" in caplog.text


def test_stock_actors_have_identities_of_the_same_kind():
    """GR-01: ours and Pykka's can be kept in one table."""
    refs: list[Any] = [Echo.start(), ThreadingActor.start()]
    try:
        assert all(ref.actor_urn.startswith("urn:uuid:") for ref in refs)
        assert len({ref.actor_urn for ref in refs}) == 2
    finally:
        for ref in refs:
            ref.stop(timeout=5)
