"""Dead letters in a channel that crashes, is down, is closed, or is held by nobody."""

import gc
import weakref
from typing import Any

import pytest
from channelkit import wait_until
from contextkit import events_of
from dispatchkit import CHANNEL, ENCODE, add_worker, channel_of, context_with, echo, error_of, session_of, submit
from linkkit import PATIENCE_S
from statekit import make_conversation

from limen.actors import _orders as orders
from limen.actors.channel import ChannelActor
from limen.actors.context import WorkerContext
from limen.actors.linking import kill
from limen.messages.activities import Completed
from limen.messages.dispatch import DispatchRequest
from limen.messages.dispatch_errors import DispatchFailed, PoisonActivity, UnknownDeadLetter
from limen.messages.errors import ChannelLifecycleError, ConfigError
from limen.messages.payloads import Payload
from limen.messages.retry import Retry


class Deadly:
    """Kills its worker until it is told to stop."""

    def __init__(self) -> None:
        self.kills = True

    def __call__(self, request):
        if self.kills:
            raise SystemExit(3)
        return echo(request)


def buried(context: WorkerContext, name: str = "c-1") -> None:
    """Have a request end as poison."""
    error = error_of(submit(context, name=name, max_crashes=1))
    assert isinstance(error, PoisonActivity)


def ids(context: WorkerContext) -> list[str]:
    """Name the dead letters."""
    return [letter.id for letter in context.dead_letters(CHANNEL)]


def test_a_context_has_the_same_verbs():
    """List, requeue and discard by the channel's name; unknown ids and channels are typed errors."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}) as context:
        buried(context)
        assert ids(context) == ["c-1"]
        with pytest.raises(ConfigError, match="not for 'resize'"):
            context.requeue(CHANNEL, "c-1", "resize")
        activity.kills = False
        assert context.requeue(CHANNEL, "c-1", "encode").result(PATIENCE_S) == Completed(Payload())

        activity.kills = True
        buried(context, "c-2")
        assert context.discard(CHANNEL, "c-2").id == "c-2"
        for verb in (context.requeue, context.discard):
            with pytest.raises(UnknownDeadLetter):
                verb(CHANNEL, "c-2")
            with pytest.raises(UnknownDeadLetter):
                verb("aion.dispatch.shop.nowhere", "c-2")
        assert context.dead_letters("aion.dispatch.shop.nowhere") == ()


def test_letters_survive_the_channels_actor():
    """CH-14: they are in its book; the next actor requeues them."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}) as context:
        buried(context)
        kill(ref := channel_of(context).ref())
        assert ref.actor_stopped.wait(PATIENCE_S)

        assert ids(context) == ["c-1"]
        activity.kills = False
        assert context.requeue(CHANNEL, "c-1").result(PATIENCE_S) == Completed(Payload())


def test_a_requeue_that_crashes_the_channel_loses_no_letter(monkeypatch):
    """Nobody knows what became of it, so it is where it was."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}) as context:
        buried(context)
        submitting = ChannelActor._submit

        def fail(_actor, _conversation):
            monkeypatch.setattr(ChannelActor, "_submit", submitting)
            raise MemoryError

        monkeypatch.setattr(ChannelActor, "_submit", fail)
        with pytest.raises(ChannelLifecycleError):
            context.requeue(CHANNEL, "c-1")

        assert ids(context) == ["c-1"]


def test_a_requeue_under_way_when_the_channel_is_down_for_good_loses_no_letter():
    """CH-15: the requester is told, and the letter is there again when the channel may come back."""
    with context_with({"handler": Deadly()}) as context:
        buried(context)
        worker = add_worker(context, None)
        session = session_of(context)
        conversation = context.requeue(CHANNEL, "c-1")
        while session.is_reachable:
            kill(ref := session.ref())
            assert ref.actor_stopped.wait(PATIENCE_S)

        assert isinstance(error_of(conversation), ChannelLifecycleError)
        assert [letter.id for letter in session.letters.all()] == ["c-1"]
        assert worker.try_next() is None


def test_a_letter_whose_id_is_open_waits_for_its_end():
    """Two conversations of one id would write into one record; the letter stays."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}) as context:
        buried(context)
        submit(context, name="c-1", kind="other", schedule_to_start=60.0)

        with pytest.raises(DispatchFailed, match="'c-1' is open"):
            context.requeue(CHANNEL, "c-1")
        assert ids(context) == ["c-1"]


def test_an_order_that_was_given_up_is_not_carried_out():
    """CH-19: who was told that the channel gave no answer must not find the letter gone later."""
    with context_with({"handler": Deadly()}) as context:
        buried(context)
        requeue, discard = orders.Requeue("c-1", channel_of(context)), orders.Discard("c-1")
        for order in (requeue, discard):
            assert order.claim()
            assert session_of(context).ask(order) is None

        assert ids(context) == ["c-1"]


def test_letters_hold_the_channel_that_nobody_else_holds():
    """A queue whose last worker has left keeps what it could not do; when the last letter goes, the channel may end."""
    with context_with() as context:
        worker = add_worker(context, Deadly())
        buried(context)
        worker.unregister()
        del worker
        wait_until(lambda: not context.pool(CHANNEL))
        gc.collect()
        assert ids(context) == ["c-1"]

        handle = weakref.ref(channel_of(context))
        context.discard(CHANNEL, "c-1")
        gc.collect()
        assert handle() is None


def test_a_channel_that_is_closed_lets_its_letters_go():
    """Nothing holds it any more."""
    context = WorkerContext()
    worker = add_worker(context, Deadly())
    buried(context)
    session = session_of(context)
    assert session.anchor is not None
    context.close()

    assert session.anchor is None
    assert not worker.is_active


def test_a_request_asked_by_an_actor_is_kept_too():
    """It has no handle on the channel; it is listed and requeued like any other."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}) as context:
        asked = DispatchRequest(conversation_id="asked", request=ENCODE)
        with pytest.raises(PoisonActivity):
            channel_of(context).ref().ask(asked, timeout=PATIENCE_S)
        assert ids(context) == ["asked"]
        activity.kills = False
        assert context.requeue(CHANNEL, "asked").result(PATIENCE_S) == Completed(Payload())


def test_nothing_of_a_life_is_left_in_the_request_that_is_made_again():
    """Failures, crashes, limits, events, progress: all that becomes of a request is forgotten, and nothing else."""
    activity = Deadly()
    calls = []

    def work(request):
        calls.append(request)
        if len(calls) == 1:
            raise ValueError("not yet")
        return activity(request)

    options: dict[str, Any] = {
        "retry": Retry(initial=0.0),
        "max_crashes": 1,
        "start_to_close": 60.0,
        "schedule_to_close": 60.0,
    }
    with context_with({"handler": work, "restart": True}) as context:
        events_of(context, CHANNEL)
        conversation = submit(context, **options)
        assert isinstance(error_of(conversation), PoisonActivity)
        conversation.note_progress(1, b"half")

        again, fresh = conversation.again(), make_conversation(**options)

    assert {*vars(again)} == {*vars(fresh)} - {"reply"}
    assert all(getattr(again, name) == getattr(fresh, name) for name in vars(again) if name != "channel_name")
    assert (len(conversation.attempts), conversation.crashes) == (2, 1)
