"""Drills with hosts, each a process of its own: killed, hung, one of their children killed, coming and going."""

import os
import random
import signal
import time
from collections import Counter

import pytest
import rabbit_activities as acts
from drillkit import Marks, Outcomes, wait_until
from rabbithosts import Diary, Host

from limen import Limen, PoisonActivity

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 60


def test_a_host_is_killed_among_a_thousand_dispatches(url, asker, tmp_path, figures):
    """SIGKILL, three times: nothing is lost, each caller is told once, and only the dead host's work runs again."""
    took_ms, again = [], 0
    for round_ in range(3):
        marks, outcomes = Marks(tmp_path / f"marks-{round_}"), Outcomes()
        with Host(url, "mark", slots=4) as victim, Host(url, "mark", slots=4), Host(url, "mark", slots=4):
            for number in range(1000):
                outcomes.watch(asker.dispatch(acts.mark, str(marks.path), number, 0.005))
            wait_until(lambda: outcomes.done() >= 300)  # noqa: B023 - called here
            killed_s = victim.kill()
            lost = marks.begun_in(victim.pid)
            assert outcomes.each_once(TIMEOUT_S) == list(range(1000))
            starts = marks.starts()  # before the others are killed too, with what they have yet to acknowledge

        assert set(starts) == set(range(1000))
        twice = {number for number, each in starts.items() if len(each) > 1}
        assert lost <= twice
        for number in twice:
            first, second = starts[number]
            assert first.pid == victim.pid != second.pid
            took_ms.append((second.at_s - killed_s) * 1000)
        again += len(twice)

    median_ms = figures.times("host killed among 1,000: to second start", took_ms)
    figures.counts("host killed among 1,000", rounds=3, lost=0, told_twice=0, begun_twice=again)
    assert median_ms <= 500  # 50 on a machine that has nothing else to do


def test_a_child_is_killed(broker, vhost, asker, tmp_path, figures):
    """SIGKILL of a process worker's child: its host runs the work again in another, and the broker hears nothing."""
    took_ms = []
    with Host(broker.url(vhost), "hold", executor="process", slots=2):
        for round_ in range(7):
            diary = Diary(tmp_path / f"diary-{round_}")
            handle = asker.dispatch(acts.hold, str(diary.path))
            (first,) = diary.wait_starts(1)
            killed_s = time.monotonic()
            os.kill(first.pid, signal.SIGKILL)
            _, second = diary.wait_starts(2)
            diary.let_go()
            assert handle.result(timeout=TIMEOUT_S) == second.pid != first.pid
            assert handle.crashes == 1
            took_ms.append((second.at_s - killed_s) * 1000)
        queue = f"queues/{vhost}/aion.dispatch.default.work.hold"
        wait_until(lambda: broker.api("GET", queue).get("message_stats", {}).get("ack") == 7)
        redelivered = broker.api("GET", queue)["message_stats"].get("redeliver", 0)

    median_ms = figures.times("child killed: to second start", took_ms)
    figures.counts("child killed", rounds=7, redelivered_by_broker=redelivered)
    assert redelivered == 0
    assert median_ms <= 500


def test_a_host_hangs_and_comes_back(broker, vhost, tmp_path, figures):
    """SIGSTOP: its work goes on elsewhere within three heartbeats. SIGCONT: it is back, and nobody is told twice."""
    url = broker.url(vhost, options="?heartbeat=1")
    took_ms = []
    with Limen(url) as asker:
        for round_ in range(3):
            diary, outcomes = Diary(tmp_path / f"diary-{round_}"), Outcomes()
            with Host(url, "hold") as hung:
                outcomes.watch(asker.dispatch(acts.hold, str(diary.path)))
                diary.wait_starts(1)
                with Host(url, "hold") as other:
                    stopped_s = time.monotonic()
                    hung.signal(signal.SIGSTOP)
                    _, second = diary.wait_starts(2)
                    took_ms.append((second.at_s - stopped_s) * 1000)
                    diary.let_go()
                    assert outcomes.each_once() == [other.pid]
                hung.signal(signal.SIGCONT)
                outcomes.watch(asker.dispatch(acts.hold, str(diary.path)))
                assert outcomes.each_once() == [other.pid, hung.pid]

    figures.times("host hung, heartbeat 1 s: to second start", took_ms)
    assert max(took_ms) <= 3 * 1000 + 500


def test_a_poison_with_three_innocents(url, asker, tmp_path, figures):
    """All four are on the host that dies, each time: the poison alone is dead-lettered, the innocents have results."""
    deaths = 0
    for round_ in range(3):
        diary, innocents = Diary(tmp_path / f"diary-{round_}"), Outcomes()
        poisoned = Diary(tmp_path / f"poison-{round_}")
        poison = asker.dispatch(acts.kill_host.options(schedule_to_start=60), str(poisoned.path))
        for _ in range(3):
            innocents.watch(asker.dispatch(acts.hold.options(schedule_to_start=60), str(diary.path)))
        while not poison.done():
            with Host(url, "kill_host", "hold", slots=4) as host:
                wait_until(lambda: poison.done() or host.has_ended())  # noqa: B023 - called here
                deaths += not poison.done()
                diary.let_go()  # those that were with the first victim are held by nothing from then on
                if poison.done():
                    innocents.each_once(TIMEOUT_S)
                    host.leave()  # who kills a host with one that runs alone, kills for it

        assert isinstance(poison.exception(), PoisonActivity)
        assert poison.crashes == len(poisoned.starts()) == 3
        (letter,) = asker.dead_letters("work")
        assert letter.activity_type == "kill_host"
        asker.discard("work", letter.id)

    figures.counts("poison beside three innocents", rounds=3, hosts_killed=deaths, dead_lettered=3, innocents_done=9)


TYPES = {"mark": acts.mark, "mark_too": acts.mark_too, "mark_as_well": acts.mark_as_well}


def test_hosts_of_different_types_and_capacities_share_a_channel(url, asker, tmp_path, figures):
    """None ever runs more than it may, none holds more than its slots and one of each type, and no type starves."""
    marks, outcomes = Marks(tmp_path / "marks"), Outcomes()
    with (
        Host(url, "mark", "mark_too", slots=2) as small,
        Host(url, "mark_too", "mark_as_well", slots=5) as large,
    ):
        for number in range(900):
            activity = list(TYPES.values())[number % 3]
            outcomes.watch(
                asker.dispatch(activity, str(marks.path), number, random.Random(number).uniform(0.002, 0.02))
            )
        outcomes.each_once(TIMEOUT_S)

    most = marks.most_at_once()
    starts = [each for each in marks.all() if each.what == "start"]
    half = Counter(each.kind for each in starts[: len(starts) // 2])
    pids = {kind: {each.pid for each in starts if each.kind == kind} for kind in TYPES}
    figures.counts(
        "two hosts, types and capacities differ",
        most_at_once_of_2=most[small.pid],
        most_at_once_of_5=most[large.pid],
        **{f"{kind}_in_first_half": count for kind, count in sorted(half.items())},
    )
    assert most == {small.pid: 2, large.pid: 5}
    assert pids["mark"] == {small.pid}
    assert pids["mark_as_well"] == {large.pid}
    fair = {"mark": 1.0 / 7, "mark_too": 3.5 / 7, "mark_as_well": 2.5 / 7}
    """If each worker shared its slots evenly among its types."""
    for kind, share in fair.items():
        assert half[kind] >= share / 2 * len(starts) / 2, f"{kind} starves"


def test_a_host_hoards_nothing(broker, vhost, asker, tmp_path, figures):
    """Of what runs long, two hosts hold what they run and one more of each type; the rest stays with the broker."""
    diary, outcomes, url = Diary(tmp_path / "diary"), Outcomes(), broker.url(vhost)
    with Host(url, "hold", "hold_too", slots=2), Host(url, "hold", slots=5):
        for activity in (acts.hold, acts.hold_too) * 30:
            outcomes.watch(asker.dispatch(activity, str(diary.path)))
        diary.wait_starts(7)
        left = wait_until_steady(lambda: sum(waiting(broker, vhost, kind) for kind in ("hold", "hold_too")))
        diary.let_go()
        outcomes.each_once(TIMEOUT_S)

    held = 60 - left
    figures.counts("two hosts of 2 and 5 slots, 60 long requests", held=held, bound=7 + 3)
    assert 7 <= held <= 7 + 3


def waiting(broker, vhost, kind):
    """How many requests the broker has not handed out, by its own count."""
    return broker.ready(vhost, f"aion.dispatch.default.work.{kind}")


def wait_until_steady(look, for_s=1.0):
    """Give what is seen when it has not changed for a while."""
    seen, since_s = look(), time.monotonic()
    while time.monotonic() - since_s < for_s:
        time.sleep(0.02)
        again = look()
        if again != seen:
            seen, since_s = again, time.monotonic()
    return seen
