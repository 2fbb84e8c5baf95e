"""The drill with a crowd: twenty hosts come and go, in good order and not, while ten thousand requests flow."""

import contextlib
import random
import time

import pytest
import rabbit_activities as acts
from drillkit import Marks, Outcomes, wait_until
from rabbithosts import Host

from limen import Limen

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REQUESTS = 10_000
HOSTS = 20
AT_ONCE = 4
"""How many there are at a time, each a process of its own; one more is on its way, and one leaves."""

ROUNDS = HOSTS - AT_ONCE
SHARE = REQUESTS // ROUNDS


def test_twenty_hosts_come_and_go_while_ten_thousand_requests_flow(url, tmp_path, figures):
    """Half of them are killed, the others leave in good order: each request has its result, once, and none is lost."""
    marks, outcomes, chance = Marks(tmp_path / "marks"), Outcomes(), random.Random(20)
    killed: set[int] = set()
    began_s = time.monotonic()
    with Limen(url) as asker, contextlib.ExitStack() as leaving:
        hosts = [Host(url, "mark", slots=4) for _ in range(AT_ONCE)]
        for host in hosts:
            leaving.enter_context(host)
        for round_ in range(ROUNDS):
            newcomer = Host(url, "mark", slots=4)
            for number in range(round_ * SHARE, (round_ + 1) * SHARE):
                outcomes.watch(asker.dispatch(acts.mark, str(marks.path), number, 0.002))
            wait_until(lambda: outcomes.done() >= (round_ + 0.3) * SHARE)  # noqa: B023 - called here
            victim = hosts.pop(chance.randrange(len(hosts)))
            if round_ % 2:
                victim.leave()
            else:
                victim.kill()
                killed.add(victim.pid)
            hosts.append(leaving.enter_context(newcomer))
        assert outcomes.each_once(120) == list(range(REQUESTS))
        starts = marks.starts()
    took_s = time.monotonic() - began_s

    twice = [each for each in starts.values() if len(each) > 1]
    assert set(starts) == set(range(REQUESTS))
    odd = [each for each in twice if each[0].pid not in killed]
    assert odd == [], f"only what a killed host had runs again; these were killed: {killed}"
    figures.counts(
        "20 hosts come and go, 10,000 requests",
        killed=len(killed),
        left=ROUNDS - len(killed),
        lost=0,
        told_twice=0,
        begun_twice=len(twice),
        seconds=round(took_s, 1),
    )
