"""The `limen` command: what `module:name` stands for, and one activity dispatched without a broker."""

import json

import pytest
from clikit import call, module_in

from limen.cli._target import load_activities, load_activity
from limen.cli.worker import choose
from limen.messages.errors import ConfigError

MODULE = """
import attrs
from limen import Limen, activity

@attrs.frozen
class Job:
    path: str
    size: int = 3

@attrs.frozen
class Done:
    path: str
    total: int

@activity(queue="media")
def transcode(job: Job) -> Done:
    return Done(job.path, job.size * 2)

@activity(queue="media")
def fail(number: int) -> int:
    raise ValueError(f"no {number}")

@activity(queue="other")
async def hello(name: str) -> str:
    return f"hello {name}"

class app:
    "Holds no activity itself."

some = [transcode, fail]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the folder that the command is called in."""
    return module_in(tmp_path, MODULE, monkeypatch)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", ["transcode", "fail", "hello"]),
        (":transcode", ["transcode"]),
        (":app", ["transcode", "fail", "hello"]),
        (":some", ["transcode", "fail"]),
    ],
)
def test_a_target_stands_for_the_activities_in_it(module, name, found):
    """A module, one activity, a list of them; anything else stands for its module."""
    assert [each.name for each in load_activities(module + name)] == found


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module:x", "no module"),
        ("{}:nothing", "has no 'nothing'"),
        ("json", "no activity in it"),
    ],
)
def test_a_target_that_is_not_there_is_said_in_one_line(module, target, said):
    """And the exit status is that of a wrong call."""
    target = target.format(module)
    with pytest.raises(ConfigError, match=said):
        load_activities(target)
    done = call("dispatch", target, "--wait")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_a_module_that_fails_to_import_says_so_itself(tmp_path, monkeypatch):
    """An import error inside the user's module is his, and is not dressed up."""
    (tmp_path / "broken_import.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_activities("broken_import")


def test_one_activity_must_be_named_where_one_is_needed(module):
    """The error shows how."""
    with pytest.raises(ConfigError, match=f"{module}:transcode"):
        load_activity(module)


@pytest.mark.parametrize(
    ("queue", "types", "chosen"),
    [
        ("media", None, ["transcode", "fail"]),
        (None, "transcode", ["transcode"]),
        ("media", "fail, transcode", ["transcode", "fail"]),
        ("other", "hello", ["hello"]),
    ],
)
def test_a_worker_serves_what_was_chosen(module, queue, types, chosen):
    """By queue, by type, or both."""
    assert [each.name for each in choose(load_activities(module), queue, types)] == chosen


@pytest.mark.parametrize(
    ("queue", "types", "said"),
    [
        (None, None, "must say which"),
        ("media", "hello", "nothing is for 'media'"),
        (None, "transcode,nope", "nope"),
    ],
)
def test_a_choice_that_leaves_nothing_or_too_much_is_refused(module, queue, types, said):
    """With what there is to choose from."""
    with pytest.raises(ConfigError, match=said):
        choose(load_activities(module), queue, types)


def test_an_activity_is_done_here_without_a_broker(module):
    """Arguments come as JSON, and the result goes out as JSON."""
    done = call("dispatch", f"{module}:transcode", '{"job": {"path": "a"}}', "--wait")
    assert json.loads(done.stdout) == {"path": "a", "total": 6}
    assert done.exit_code == 0

    told = call("dispatch", f"{module}:hello", '["you"]', "--wait", "--json")
    assert json.loads(told.stdout)["result"] == "hello you"


def test_a_failed_activity_gives_a_status_of_its_own(module):
    """One line on stderr, or one JSON object on stdout."""
    done = call("dispatch", f"{module}:fail", "[7]", "--wait")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "ValueError: no 7" in done.stderr

    told = call("dispatch", f"{module}:fail", "[7]", "--wait", "--json")
    assert (told.exit_code, json.loads(told.stdout)["error"]) == (1, "ActivityFailed")


@pytest.mark.parametrize("arguments", ['{"m": 1}', "[1, 2]", "no json", '{"number": "x"}'])
def test_wrong_arguments_are_refused_before_anything_runs(module, arguments):
    """With the status of a wrong call."""
    done = call("dispatch", f"{module}:fail", arguments, "--wait")
    assert done.exit_code == 2
    assert done.stderr.startswith("limen: ")


def test_without_a_broker_a_dispatch_has_to_be_waited_for(module):
    """Nobody else would be there to do the work; so has a worker no sense without one."""
    assert call("dispatch", f"{module}:transcode", '[{"path": "a"}]').exit_code == 2
    assert call("worker", module, "--queue", "media").exit_code == 2
