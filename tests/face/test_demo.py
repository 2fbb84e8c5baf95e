"""`limen demo`: real files in, every outcome out, with a process killed half-way; and the command around it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from limen.demo.activities import Measures, measure, read
from limen.demo.check import Failed, differing, outcome_of, sample_of
from limen.demo.command import _status
from limen.demo.files import NothingToDo, find_files, large_half_way, standard_library
from limen.demo.report import Report

TIMEOUT_S = 120

GOOD = "class A:\n    def b(self):\n        return 1\n\n\nasync def c(): ...\n"

BROKEN = {
    "syntax.py": (b"def\n", "SyntaxError"),
    "null.py": (b"x = 1\0\n", ("SyntaxError", "ValueError")),
    "latin.py": (b"# caf\xe9\n", "SyntaxError"),
    "deep.py": (b"a" + b".b" * 20_000 + b"\n", ("MemoryError", "RecursionError")),
}
"""Files with which an activity fails, and how."""


@pytest.fixture
def tree(tmp_path):
    """A folder with good files, broken ones, a link to nowhere, and two that take a while to parse."""
    folder = tmp_path / "tree"
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    for number in range(12):
        (folder / f"good{number:02}.py").write_text(GOOD)
    for name, (data, _) in BROKEN.items():
        (folder / "inner" / name).write_bytes(data)
    (folder / "inner" / "gone.py").symlink_to(folder / "nowhere")
    (folder / "inner" / "__pycache__" / "cached.py").write_text("no = 1")
    (folder / "text.txt").write_text("no Python")
    for name in ("long.py", "longer.py"):
        (folder / name).write_text("x = [1, 2, (3, 4)]\n" * 500 * len(name))
    os.mkfifo(folder / "pipe.py")
    return folder


def _limen(*args: object, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "limen", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


# --- end to end -----------------------------------------------------------------------------------------------------


def test_a_real_kill_loses_nothing(tree):
    """Every file has an outcome, broken files are failed activities, and a killed process costs one re-dispatch."""
    done = _limen("demo", "--json", tree)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)

    assert (report["files"], report["results"], report["failed"]) == (19, 14, 5)
    assert (report["lost"], report["unfinished"], report["differing"]) == (0, 0, [])
    assert (report["verified"], report["sampled"]) == (True, 19)
    assert (report["crashes"], report["redispatched"] >= 1) == (1, True)
    assert len(report["killed"]) >= 1
    assert report["wall_s"] > 0
    failures = {Path(each["file"]).name: each for each in report["failures"]}
    assert failures.keys() == {*BROKEN, "gone.py"}
    for name, (_, kind) in BROKEN.items():
        assert failures[name]["activity"] == "measure"
        assert failures[name]["error"].startswith(kind)
    assert failures["gone.py"]["activity"] == "read"


@pytest.mark.slow
def test_without_a_crash_nothing_is_killed(tree):
    """`--no-crash`; and one worker will do."""
    report = json.loads(_limen("demo", "--no-crash", "--workers", 1, "--json", tree).stdout)

    assert (report["results"], report["failed"], report["workers"]) == (14, 5, 1)
    assert (report["crashes"], report["redispatched"], report["killed"]) == (0, 0, [])


@pytest.mark.slow
def test_plain_text_where_there_is_no_terminal(tree):
    """Lines, no control characters, with the kill in their midst and the numbers at the end."""
    done = _limen("demo", tree)

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    told = re.search(
        r"^SIGKILL to process \d+ of (?P<worker>worker-\d)$.*"
        r"^a process of (?P=worker) is gone \(ended by SIGKILL\); it had (?P<file>\S+)$.*"
        r"^(?P=file) went to another process, of worker-\d$",
        done.stdout,
        re.MULTILINE | re.DOTALL,
    )
    assert told is not None, done.stdout
    numbers = {("files in", "19"), ("results out", "14"), ("failed activities", "5"), ("lost", "0")}
    assert numbers <= _rows(done.stdout)
    assert "  read inner/gone.py: FileNotFoundError" in done.stdout


def _rows(text: str) -> set[tuple[str, str]]:
    return {(name, value.strip()) for name, _, value in (line.partition("  ") for line in text.splitlines())}


@pytest.mark.slow
def test_a_live_picture_on_a_terminal(tree):
    """On a terminal the pool is drawn while it works, and the report is a table."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "limen", "demo", str(tree)],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        text = _read_all(ours)
    os.close(ours)

    assert process.returncode == 0
    for shown in ("worker-2", "spare", "SIGKILL to process", "19 of 19 files", "results out", "\x1b["):
        assert shown in text


def _read_all(terminal: int) -> str:
    parts = []
    while True:
        try:
            parts.append(os.read(terminal, 65536))
        except OSError:  # its other end is closed
            break
    return b"".join(parts).decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_signal_ends_it_with_what_it_has(number, status, as_json):
    """Ctrl-C and SIGTERM: files under way finish, the others are named, no process stays, no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "limen", "demo", *(["--json"] if as_json else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        _wait_for_work(process, as_json=as_json)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        output, errors = process.communicate(timeout=TIMEOUT_S)

    assert (process.returncode, errors) == (status, "")
    if as_json:
        report = json.loads(output)
        assert (report["lost"], report["interrupted"]) == (0, signal.Signals(number).name)
        assert report["files"] == report["results"] + report["failed"] + report["unfinished"]
        assert report["unfinished"] == len(set(report["unfinished_files"])) > 0
    else:
        assert "\nnot done:\n  " in output
        assert f"(ended by {signal.Signals(number).name})" in output
        assert ("lost", "0") in _rows(output)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_it_at_once(slow_tree, number, status):
    """Whatever is under way, the process and its children are gone within a second."""
    with subprocess.Popen(
        [sys.executable, "-m", "limen", "demo", "--no-crash", "--json", str(slow_tree)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        _wait_for_parsing(process.pid)
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)  # it lets what is under way finish, which takes long
        process.send_signal(number)
        began_s = time.monotonic()
        output, errors = process.communicate(timeout=TIMEOUT_S)
        took_s = time.monotonic() - began_s
        while _members_of(process.pid):
            assert time.monotonic() - began_s < TIMEOUT_S, _members_of(process.pid)

    assert (process.returncode, output, errors) == (status, "", "")
    assert took_s < 1.0


@pytest.fixture
def slow_tree(tmp_path):
    """A folder with files that take many seconds to parse."""
    for number in range(8):
        (tmp_path / f"slow{number}.py").write_text("x = [1, 2, (3, 4)]\n" * 400_000)
    return tmp_path


def _wait_for_parsing(session: int) -> None:
    """Wait until children have computed for a while."""
    until_s = time.monotonic() + TIMEOUT_S
    while sum(seconds for pid, seconds in _members_of(session).items() if pid != session) < 1.0:
        assert time.monotonic() < until_s, _members_of(session)


def _members_of(session: int) -> dict[int, float]:
    """Give the processes of a session that have not ended, with the seconds that they have computed."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _wait_for_work(process: subprocess.Popen[str], *, as_json: bool) -> None:
    """Wait until files are being done: until it says so, or has processes that have worked."""
    assert process.stdout is not None
    if not as_json:
        while not process.stdout.readline().startswith(" 10 %"):
            pass
        return
    while _processes_at_home_in(process.pid) < 7:  # itself, and three children of each worker
        assert process.poll() is None


def _processes_at_home_in(session: int) -> int:
    """Count the processes of a session that have got as far as to have a second thread."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found += int(fields[3]) == session and int(fields[17]) > 1
    return found


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path / "nowhere", "no such folder"),
        (lambda path: _touched(path / "file.py"), "not a folder"),
        (lambda path: path, "no .py files"),
    ],
)
def test_a_path_without_work_is_a_clear_error(tmp_path, make, problem):
    """One line on stderr, nothing on stdout, status 2."""
    done = _limen("demo", "--json", make(tmp_path))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("limen demo: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def _touched(path: Path) -> Path:
    path.write_text("")
    return path


@pytest.mark.slow
def test_the_command_knows_its_version_and_options():
    """`--version`; and what is no option is refused with status 2."""
    assert _limen("--version").stdout.startswith("limen 0.")
    for wrong in (["demo", "--workers", "0"], ["demo", "--nonsense"], ["nonsense"], []):
        assert _limen(*wrong).returncode == 2


REPORT = Report(
    path="p",
    files=3,
    results=3,
    failed=0,
    redispatched=1,
    crashes=1,
    lost=0,
    unfinished=0,
    unfinished_files=(),
    verified=True,
    sampled=3,
    differing=(),
    wall_s=1.0,
    workers=2,
    crash=True,
    killed=(7,),
    moved_ms=3.25,
    interrupted=None,
    failures=(),
)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"failed": 1, "results": 2}, 0),
        ({"lost": 1, "results": 2}, 1),
        ({"differing": ("a.py",), "verified": False}, 1),
        ({"interrupted": "SIGINT", "unfinished": 2}, 130),
        ({"interrupted": "SIGTERM", "lost": 1}, 143),
    ],
)
def test_the_status_says_how_it_went(changes, status):
    """1 when anything was lost or differs, 128 and the signal's number when it was ended early."""
    assert _status(attrs.evolve(REPORT, **changes)) == status


def test_the_report_reads_well():
    """Each number has a name; what went wrong is said in words."""
    assert dict(REPORT.as_rows()) == {
        "files in": "3",
        "results out": "3",
        "failed activities": "0",
        "crashes": "1",
        "re-dispatched": "1",
        "lost": "0",
        "from kill to re-dispatch": "3.2 ms",
        "wall time": "1.0 s (3 files a second)",
        "same as a plain loop": "yes, all 3 of a sample",
    }
    wrong: Any = attrs.evolve(REPORT, differing=("a.py",), crashes=0, moved_ms=None)
    assert dict(wrong.as_rows())["same as a plain loop"] == "NO: 1 of 3 differ, a.py for one"
    assert "long enough" in dict(wrong.as_rows())["crashes"]


# --- its parts ------------------------------------------------------------------------------------------------------


def test_a_file_is_measured_by_its_syntax_tree(tmp_path):
    """Called directly, as plain functions."""
    path = tmp_path / "good.py"
    path.write_text(GOOD)

    assert measure(read(str(path))) == Measures(
        sha256=read(str(path)).sha256, lines=6, nodes=11, functions=2, classes=1, depth=5
    )


def test_all_and_only_files_that_can_be_read_to_their_end_are_found(tree):
    """Links to nowhere are found, pipes are not; neither is what Python has cached."""
    root, files = find_files(tree)
    names = {Path(path).name for path in files}

    assert root == tree
    assert {"gone.py", "long.py", *BROKEN} <= names
    assert not {"pipe.py", "cached.py", "text.txt"} & names


def test_by_default_it_is_the_standard_library():
    """Without what is installed beside it."""
    root, files = find_files(None)

    assert root == standard_library()
    assert f"{root}/ast.py" in files
    assert not any("site-packages" in path for path in files)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_folder_that_is_none_is_refused(tmp_path, name):
    """With the path and what is wrong with it."""
    (tmp_path / "file").write_text("")

    with pytest.raises(NothingToDo, match=name):
        find_files(tmp_path / name)


def test_large_files_come_half_way(tmp_path):
    """All files are there still, and the largest is in the middle."""
    paths = [str(_touched(tmp_path / f"{number:02}.py")) for number in range(40)]
    Path(paths[0]).write_text("x" * 1000)

    arranged = large_half_way(paths)

    assert sorted(arranged) == paths
    assert arranged.index(paths[0]) == 20


def test_a_sample_is_spread_over_all(tmp_path):
    """Evenly, never larger than asked for but by what must be in it, and never the same file twice."""
    paths = [f"{number:04}" for number in range(1000)]

    sample = sample_of(paths, 50, ["0007", "0020"])

    assert sample[:2] == ["0007", "0020"]
    assert (len(sample), len(set(sample))) == (51, 51)
    assert sample_of(["a"], 50, []) == ["a"]
    assert sample_of([], 50, []) == []


def test_what_differs_is_found(tmp_path):
    """A result that is not the plain loop's, and a failure that does not happen there."""
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(GOOD)
    bad.write_text("def\n")
    right = outcome_of(str(good))
    assert isinstance(right, Measures)
    wrong = attrs.evolve(right, nodes=0)

    def compare(*outcomes):
        return differing([str(good), str(bad)], dict(zip([str(good), str(bad)], outcomes, strict=True)), lambda: False)

    assert compare(right, Failed()) == (2, [])
    assert compare(wrong, Failed()) == (2, [str(good)])
    assert compare(Failed(), right) == (2, [str(good), str(bad)])
    assert differing([str(good)], {str(good): right}, lambda: True) == (0, [])
