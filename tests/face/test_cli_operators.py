"""The operators' commands on an application of this process: what they show, what they do, and how they refuse."""

import json

import pytest
from clikit import call, module_in

MODULE = """
from limen import Limen, activity

@activity(queue="media")
def transcode(number: int) -> int:
    return number

@activity(queue="media", dead_letter=True)
def fail(number: int) -> int:
    raise ValueError(f"no {number}")

@activity(queue="other")
def hello(name: str) -> str:
    return name

def make():
    made = Limen()
    made.worker("media", [transcode, fail], max_concurrent=2)
    return made

def make_dead():
    made = make()
    for number in range(2):
        made.dispatch(fail, number).exception(timeout=20)
    return made
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the folder that the command is called in."""
    return module_in(tmp_path, MODULE, monkeypatch)


def said(*arguments):
    """Run it with `--json`, and give what it said."""
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_pool_of_an_application_is_shown(module):
    """Its workers, as lines with tabs for programs, or as JSON."""
    done = call("pool", "media", "--app", f"{module}:make")
    head, row = done.stdout.splitlines()
    assert head.split("\t") == ["host", "worker", "executor", "running", "slots", "state", "activities"]
    assert row.split("\t") == ["here", "worker-1", "thread", "0", "2", "open", "transcode, fail"]

    (worker,) = said("pool", "media", "--app", f"{module}:make")
    assert (worker["worker_id"], worker["free"], worker["activity_types"]) == ("worker-1", 2, ["transcode", "fail"])
    assert said("pool", "other", "--app", f"{module}:make") == []


def test_all_queues_of_an_application_are_shown(module):
    """Those that it uses, or those that are named."""
    (queue,) = said("queues", "--app", f"{module}:make")
    assert (queue["queue"], queue["workers"], queue["paused"], queue["waiting"]) == ("media", 1, False, 0)
    assert [each["queue"] for each in said("queues", "other", "--app", f"{module}:make")] == ["other"]
    assert "media\t\t0\t0\t1\topen" in call("queues", "--app", f"{module}:make").stdout


def test_dead_letters_are_listed_tried_again_and_thrown_away(module):
    """With what went wrong, and without their arguments."""
    letters = said("dead", "list", "media", "--app", f"{module}:make_dead")
    assert [(each["activity"], each["error"], each["crashes"]) for each in letters] == [
        ("fail", "ActivityFailed", 0)
    ] * 2
    assert all("ValueError: no" in each["attempts"][0]["error"] for each in letters)
    assert len(call("dead", "list", "media", "--app", f"{module}:make_dead").stdout.splitlines()) == 3

    assert len(said("dead", "requeue", "media", "--all", "--app", f"{module}:make_dead")["requeued"]) == 2
    assert len(said("dead", "discard", "media", "--all", "--app", f"{module}:make_dead")["discarded"]) == 2
    assert call("dead", "discard", "media", "--all", "--app", f"{module}:make_dead").stdout.count("discarded ") == 2


def test_a_pause_is_said(module):
    """And its end."""
    assert said("pause", "media", "--app", f"{module}:make") == {"queue": "media", "state": "paused"}
    assert call("resume", "media", "--app", f"{module}:make").stdout == "media is open\n"


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (("pool", "media"), 2, "--url"),
        (("pool", "media", "--app", "{}:transcode"), 2, "must name a Limen"),
        (("pool", "media", "--app", "{}"), 2, "must name a Limen"),
        (("pool", "", "--app", "{}:make"), 2, "task_queue"),
        (("dead", "discard", "media", "--app", "{}:make"), 2, "--all"),
        (("dead", "discard", "media", "x", "--all", "--app", "{}:make"), 2, "--all"),
        (("dead", "discard", "media", "nope", "--app", "{}:make"), 1, "nope"),
        (("declare", "--queue", "media", "--url", "amqp://localhost"), 2, "--types"),
        (("declare", "{}", "--queue", "nope", "--url", "amqp://localhost"), 2, "nope"),
        (("declare", "{}"), 2, "--url"),
        (("pause", "media", "--url", "http://localhost"), 2, "amqp"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(module, arguments, status, why):
    """On stderr: with status 2 what cannot be done at all, with 1 what could have been."""
    done = call(*(each.format(module) for each in arguments))
    assert (done.exit_code, done.stdout) == (status, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
