"""The `limen` command at a broker: each in a process of its own, against hosts in others."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rabbit_activities as acts
from drillkit import wait_until
from rabbithosts import Diary, Host
from typer.testing import CliRunner

from limen import ActivityFailed, NoWorkersAvailable
from limen.cli import app as command
from limen.rabbitmq import topology

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 60


@pytest.fixture
def run(url, monkeypatch):
    """Run `limen` in a process, and give its status and what it said, as JSON where it was asked to."""
    monkeypatch.setenv("LIMEN_URL", url)

    def runs(*arguments, status=0, as_json=True):
        done = subprocess.run(
            [sys.executable, "-m", "limen", *arguments, *(["--json"] if as_json else [])],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == status, done
        return json.loads(done.stdout) if as_json and status == 0 else done

    return runs


def test_the_workers_of_all_hosts_are_shown(run, url):
    """From anywhere; and the queues that they serve, with what waits in them."""
    with Host(url, "double", slots=3), Host(url, "whoami", executor="process"):
        rows = run("pool", "work")
        assert [(each["activity_types"], each["max_concurrent"], each["executor"]) for each in rows] == [
            (["double"], 3, "thread"),
            (["whoami"], 1, "process"),
        ]
        assert len({each["host"] for each in rows}) == 2
        (queue,) = run("queues")
        assert (queue["queue"], queue["workers"], queue["paused"], queue["waiting"]) == ("work", 2, False, 0)
        assert len(run("pool", "work", as_json=False).stdout.splitlines()) == 3


def test_a_queue_is_paused_for_all_hosts_and_goes_on(run, url, asker):
    """What waits meanwhile is shown, and not lost."""
    with Host(url, "double"):
        assert run("pause", "work")["state"] == "paused"
        handle = asker.dispatch(acts.double, 4)
        assert not handle.wait(0.3)
        (queue,) = run("queues")
        assert (queue["paused"], queue["waiting"]) == (True, 1)
        assert run("resume", "work")["state"] == "open"
        assert handle.result(timeout=TIMEOUT_S) == 8


def test_dead_letters_are_listed_tried_again_and_thrown_away(run, url, asker):
    """A command that has sent one back need not stay for its end, and does not take it along when it goes."""
    with Host(url, "fail"):
        handles = [asker.dispatch(acts.fail.options(dead_letter=True), str(number)) for number in range(2)]
        for handle in handles:
            assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityFailed)
        assert [each["id"] for each in run("dead", "list", "work")] == [each.id for each in handles]

        assert run("dead", "requeue", "work", handles[0].id)["requeued"] == [handles[0].id]
        wait_until(lambda: [each.requeues for each in asker.dead_letters("work")] == [0, 1], TIMEOUT_S)
        assert len(run("dead", "discard", "work", "--all")["discarded"]) == 2
        assert run("dead", "list", "work") == []
        assert "no dead letter" in run("dead", "discard", "work", "nope", status=1, as_json=False).stderr


def test_what_is_declared_keeps_requests_before_the_first_worker_comes(run, url, asker, broker, vhost):
    """By name, or for all activities of a module; to say it twice does no harm."""
    assert isinstance(asker.dispatch(acts.double, 1).exception(timeout=TIMEOUT_S), NoWorkersAvailable)
    names = run("declare", "--queue", "work", "--types", "double")["work"]
    assert names == ["aion.dispatch.default.work.double", "limen.dead.aion.dispatch.default.work"]
    assert run("declare", "rabbit_activities:double")["work"] == names
    handle = asker.dispatch(acts.double, 21)
    assert not handle.wait(0.3)
    assert [(each["queue"], each["waiting"], each["workers"]) for each in run("queues")] == [("work", 1, 0)]

    with Host(url, "double"):
        assert handle.result(timeout=TIMEOUT_S) == 42
    assert len(run("declare", "rabbit_activities")["work"]) > 10
    found = {each["name"] for each in broker.api("GET", f"queues/{vhost}")}
    assert topology.Route("aion.dispatch.default.work", "whoami").key in found


def test_what_is_dispatched_goes_on_without_the_command(run, url, tmp_path):
    """It has been taken by the broker when the command says so, and whoever has the worker does it."""
    diary = Diary(tmp_path / "diary")
    with Host(url, "hold"):
        target, argument = "rabbit_activities:hold", json.dumps([str(diary.path)])
        assert run("dispatch", target, argument)["id"]
        assert run("dispatch", target, argument)["id"]
        diary.wait_starts(1)
        diary.let_go()
        diary.wait_starts(2)
    done = run("dispatch", "rabbit_activities:later", "[1]", status=1, as_json=False)
    assert "no live worker" in done.stderr or "no worker" in done.stderr, done.stderr


def test_a_terminal_gets_tables(url, monkeypatch):
    """Drawn by rich, without anything in a name being taken for markup."""
    monkeypatch.setattr("limen.cli._common._is_terminal", lambda: True)
    with Host(url, "double"):
        done = CliRunner().invoke(command, ["pool", "work", "--url", url], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    assert "work: 1 worker" in done.stdout
    assert "│" in done.stdout


def test_a_broker_that_is_not_there_is_said_within_a_bound(broker):
    """One line, status 1, no credentials."""
    box = []

    def ask():
        arguments = ["pool", "work", "--url", "amqp://guest:secret@127.0.0.1:1/%2F"]
        box.append(CliRunner().invoke(command, arguments))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(TIMEOUT_S)
    (done,) = box
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.stderr
    assert "secret" not in done.stderr
