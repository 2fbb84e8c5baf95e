"""Drills with whoever asks: it dies and comes back, is cut off for long, or asks for what was never there."""

import time

import pytest
import rabbit_activities as acts
from drillkit import CuttingProxy, Marks, Outcomes, wait_until
from rabbithosts import Asker, Diary, Host

from limen import ConfigError, Limen, ScheduleToCloseTimedOut

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 60
REQUESTS = 300


def test_a_requester_dies_and_its_results_are_collected_by_key(url, tmp_path, figures):
    """SIGKILL with hundreds of requests under way, twice: whoever comes back has each result that was not taken."""
    took_ms, taken = [], 0
    with Host(url, "mark", slots=2):
        for round_ in ("first", "second"):
            with Asker(url, tmp_path, round_, REQUESTS) as dead:
                killed_s = dead.kill()
            had = {mark.number for mark in Marks(tmp_path / f"done-{round_}").all()}
            left = sorted(set(range(REQUESTS)) - had)
            outcomes = Outcomes()
            with Limen(url) as app:
                for number in left:
                    outcomes.watch(app.collect(acts.mark, f"{round_}-{number}", timeout=TIMEOUT_S))
                assert outcomes.each_once(TIMEOUT_S) == left
                took_ms.append((time.monotonic() - killed_s) * 1000)
                assert app.collect(acts.mark, f"{round_}-{left[0]}").result(timeout=TIMEOUT_S) == left[0], "once more"
            assert set(Marks(tmp_path / f"marks-{round_}").starts()) == set(range(REQUESTS))
            taken += len(had)

    figures.counts(
        "requester killed", rounds=2, results=2 * REQUESTS, taken_before=taken, collected=2 * REQUESTS - taken
    )
    figures.times("requester killed: from its death to all results collected", took_ms)


def test_what_nobody_has_asked_for_is_not_found(url):
    """The time that was given runs out, and says so; a time must be given, and a broker be there."""
    with Limen(url) as app:
        with pytest.raises(ScheduleToCloseTimedOut):
            app.collect(acts.mark, "never", timeout=0.5).result(timeout=TIMEOUT_S)
        with pytest.raises(ConfigError, match="timeout"):
            app.collect(acts.mark, "never", timeout=0)
    with Limen() as embedded, pytest.raises(ConfigError, match="collect: needs a broker"):
        embedded.collect(acts.mark, "never")


def test_a_requester_that_was_cut_off_for_long_has_its_results_all_the_same(broker, vhost, tmp_path, figures):
    """Longer than they are kept in its reply queue: it finds them where they went."""
    diary, outcomes = Diary(tmp_path / "diary"), Outcomes()
    with CuttingProxy(broker.port) as proxy, Host(broker.url(vhost), "hold", slots=3) as host:
        far = broker.url(vhost, port=proxy.port, options="?heartbeat=1&connect_timeout=2")
        with Limen(far) as asker:
            for _ in range(3):
                outcomes.watch(asker.dispatch(acts.hold, str(diary.path)))
            diary.wait_starts(3)
            proxy.cut()
            diary.let_go()
            wait_until(lambda: broker.ready(vhost, "limen.results.default") > 0)
            assert outcomes.done() == 0
            healed_s = proxy.heal()
            assert outcomes.each_once(TIMEOUT_S) == [host.pid] * 3
            figures.times(
                "requester cut off for longer than its replies are kept: to its results",
                [(time.monotonic() - healed_s) * 1000],
            )
