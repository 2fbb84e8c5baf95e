"""The tables of the reference say what the code says, and the permissions of the operations page are enough."""

import json
import re
from pathlib import Path

import attrs
import pytest
import rabbit_activities as acts
import typer.main
from drillkit import wait_until

from limen import ActivityFailed, BrokerUnavailable, Limen
from limen.cli import app as command
from limen.rabbitmq import codec, dead, topology
from limen.rabbitmq.url import _OPTIONS, Address, Tls

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = (DOCS / "rabbitmq-reference.md").read_text()
OPERATIONS = (DOCS / "rabbitmq-operations.md").read_text()

TIMEOUT_S = 30


def rows(heading: str) -> list[list[str]]:
    """Give the cells of the first table under a heading."""
    part = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_all_options_of_the_url_are_there():
    """With their defaults."""
    shown = {name.strip("`"): default.strip("`") for name, default, _ in rows("The URL")}
    defaults = {field.name: field.default for kind in (Address, Tls) for field in attrs.fields(kind)}

    assert list(shown) == list(_OPTIONS)
    for name, default in shown.items():
        actual = defaults[name]
        if isinstance(actual, bool):
            assert default == str(actual).lower()
        elif actual is not None:
            assert float(default) == actual


def test_all_commands_are_there():
    """Those of groups too; `demo` needs no broker."""
    group = typer.main.get_command(command)
    names = set()
    for name, each in group.commands.items():  # type: ignore[attr-defined]
        names |= {f"{name} {sub}" for sub in getattr(each, "commands", {})} or {name}
    shown = {" ".join(re.findall(r"(?<![\[:A-Z-])\b[a-z]+\b", row[0])[1:]) for row in rows("Commands")}

    assert shown == names - {"demo"}


def test_all_content_types_are_there():
    """By the names that they have on the wire."""
    shown = {row[0].strip("`") for row in rows("What travels")}
    assert shown == {codec.REQUEST, codec.OUTCOMES, codec.NEWS, codec.CONTROL, dead.LETTER}


def test_all_that_is_made_at_the_broker_is_there():
    """Under the names that it has."""
    text = "".join(row[0] for row in rows("What there is at the broker"))
    names = [topology.DISPATCH, topology.DEAD, topology.RESULTS, topology.CONTROL]
    names += [topology.dead_queue("{channel}").name, topology.settings_queue("{channel}").name]
    names += [topology.reply_queue("n", "{process}").name, topology.results_queue("{namespace}").name]
    names += [topology.hosts_queue("{namespace}").name]
    names += [topology.types_queue("{channel}").name, topology.channels_queue("{namespace}").name]
    names += [topology.trial_queue("{channel}", "{request}").name]
    names += [topology.Route("{channel}", "{activity type}").key, *(f"{lane}:…" for lane in topology.Lane if lane)]

    assert [each for each in names if f"`{each}`" not in text] == []


@pytest.mark.broker
@pytest.mark.slow
def test_a_policy_bounds_a_queue(broker, vhost):
    """What is beyond it is told so within its time; what was taken is done."""
    (pattern, definition) = re.findall(r"set_policy bounded '(.*?)' '(.*?)'", OPERATIONS)[0]
    body = {"pattern": pattern.replace("media", "work"), "definition": {"max-length": 3}, "apply-to": "queues"}
    assert json.loads(definition) == {"max-length": 100000}
    with Limen(broker.url(vhost, options="?publish_timeout=2")) as app:
        app.declare("work", [acts.double])
        broker.api("PUT", f"policies/{vhost}/bounded", body)
        wait_until(lambda: _policy_of(broker, vhost) == "bounded", TIMEOUT_S)
        handles = []

        def one_is_refused():
            handles.append(app.dispatch(acts.double, 4))
            return any(each.done() for each in handles)

        wait_until(one_is_refused, TIMEOUT_S)
        waiting = app.queue("work").waiting
        app.worker("work", [acts.double])
        outcomes = [each.exception(timeout=TIMEOUT_S) for each in handles]

    assert all(each is None or isinstance(each, BrokerUnavailable) for each in outcomes)
    assert 3 <= waiting < len(handles)
    assert [each is None for each in outcomes].count(True) >= 3


def _policy_of(broker, vhost):
    name = topology.Route("aion.dispatch.default.work", "double").key
    return broker.api("GET", f"queues/{vhost}/{name}").get("policy")


@pytest.mark.broker
@pytest.mark.slow
def test_the_permissions_are_enough(broker, vhost):
    """For a host and whoever operates it; a requester needs to read less."""
    everything, replies = (each.strip() for each in re.findall(r"```text\n(.*?)```", OPERATIONS, re.DOTALL))
    urls = {}
    for name, read in (("host", everything), ("asker", replies)):
        user = f"{name}-{vhost}"
        broker.api("PUT", f"users/{user}", {"password": "pw", "tags": ""})
        broker.api("PUT", f"permissions/{vhost}/{user}", {"configure": everything, "write": everything, "read": read})
        urls[name] = broker.url(vhost).replace("guest:guest", f"{user}:pw")

    with Limen(urls["host"]) as host, Limen(urls["asker"]) as asker:
        host.declare("work", [acts.double])
        host.worker("work", [acts.double, acts.fail, acts.kill_host])
        assert asker.dispatch(acts.double.options(priority=5), 2).result(timeout=TIMEOUT_S) == 4
        failed = asker.dispatch(acts.fail.options(dead_letter=True), "no")
        assert isinstance(failed.exception(timeout=TIMEOUT_S), ActivityFailed)
        assert [each.id for each in host.dead_letters("work")] == [failed.id]
        assert isinstance(host.requeue(acts.fail, failed.id).exception(timeout=TIMEOUT_S), ActivityFailed)
        host.discard("work", failed.id)
        host.pause("work")
        assert asker.queue("work").paused
        host.resume("work")
        assert len(asker.pool("work")) == 1
