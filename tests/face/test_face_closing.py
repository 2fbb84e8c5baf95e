"""The end of an application, what is refused after it, and what is refused before it began."""

import threading
from typing import Any

import pytest
from pykka import ActorRegistry

from limen import ChannelLifecycleError, ConfigError, InvalidChannelName, Limen, activity
from limen.actors.context import WorkerContext

TIMEOUT_S = 10


@activity
def double(number: int) -> int:
    """Double it."""
    return 2 * number


def test_making_one_starts_nothing():
    """WC-01: no thread and no actor before the first use."""
    threads, actors = threading.active_count(), ActorRegistry.get_all()
    app = Limen()

    assert (threading.active_count(), ActorRegistry.get_all()) == (threads, actors)
    app.close()


def test_nothing_works_after_the_end():
    """Each use says that the application is closed, and closing again is harmless."""
    app: Any = Limen()
    app.worker("default", [double])
    app.dispatch(double, 1).result(timeout=TIMEOUT_S)
    app.close()
    app.close()

    for use in (
        lambda: app.dispatch(double, 1),
        lambda: app.map(double, [1]),
        lambda: app.worker("default", [double]),
        lambda: app.worker("fresh", [double.options(queue="fresh")]),
        lambda: app.pool("default"),
        lambda: app.route("default", lambda *_: None),
        app.events,
    ):
        with pytest.raises(ChannelLifecycleError, match="closed"):
            use()


def test_one_that_was_never_used_is_closed_all_the_same():
    """Closing first and using then is refused just so."""
    app = Limen()
    app.close()

    with pytest.raises(ChannelLifecycleError, match="closed"):
        app.dispatch(double, 1)


def test_what_is_open_at_the_end_is_told():
    """A request that waits gets `ChannelLifecycleError`, not silence."""
    app = Limen()
    handle = app.dispatch(double.options(schedule_to_start=TIMEOUT_S), 1)
    app.close()

    assert isinstance(handle.exception(timeout=TIMEOUT_S), ChannelLifecycleError)


def test_an_activity_that_does_not_end_does_not_hold_the_close(caplog):
    """It is abandoned after the time given, and the log says so."""
    begun, gate = threading.Event(), threading.Event()

    @activity
    def hold() -> None:
        begun.set()
        assert gate.wait(TIMEOUT_S)

    app = Limen()
    app.worker("default", [hold])
    handle = app.dispatch(hold)
    assert begun.wait(TIMEOUT_S)
    app.close(timeout=0.05)

    assert isinstance(handle.exception(timeout=0), ChannelLifecycleError)
    assert "still runs" in caplog.text
    gate.set()


def test_an_error_in_the_block_comes_out_of_it():
    """The block closes the application and passes the error on."""
    app = Limen()
    app.worker("default", [double])
    with pytest.raises(ZeroDivisionError), app:
        raise ZeroDivisionError

    with pytest.raises(ChannelLifecycleError):
        app.pool("default")


def test_a_context_that_was_given_outlives_the_application():
    """Two applications share one; each takes only its own workers with it."""
    with WorkerContext() as context:
        first, second = Limen(context=context), Limen(context=context)
        first.worker("default", [double])
        second.worker("default", [double])
        first.close()

        assert [row.worker_id for row in second.pool("default")] == ["worker-2"]
        assert second.dispatch(double, 1).result(timeout=TIMEOUT_S) == 2
        with pytest.raises(ChannelLifecycleError, match="closed"):
            first.dispatch(double, 1)
        second.close()


def test_namespaces_are_apart():
    """Workers of one are not seen in another, in one context."""
    with WorkerContext() as context:
        blue, green = Limen(namespace="blue", context=context), Limen(namespace="green", context=context)
        blue.worker("default", [double])

        assert (len(blue.pool("default")), len(green.pool("default"))) == (1, 0)
        blue.close()
        green.close()


def test_an_unknown_kind_of_url_is_refused(monkeypatch):
    """It is refused wherever it comes from, and quoted by its scheme alone: the rest may hold a password."""
    with pytest.raises(ConfigError, match=r"url: must be embedded: or amqp\(s\)://…, not redis:") as raised:
        Limen("redis://user:secret@host")
    assert "secret" not in str(raised.value)

    monkeypatch.setenv("LIMEN_URL", "nats://user:secret@host")
    with pytest.raises(ConfigError, match=r"LIMEN_URL: .*not nats:"):
        Limen()

    monkeypatch.setenv("LIMEN_URL", "")
    Limen().close()
    Limen("embedded:").close()


def test_a_namespace_must_be_fit_for_a_channel_name():
    """CN-08: found out at once."""
    with pytest.raises(InvalidChannelName):
        Limen(namespace="a.b")
