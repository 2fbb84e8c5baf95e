"""CPython's own tests of executors, run on ours. Many builds of Python leave them out.

Debian has them in `libpython3.11-testsuite`.

What is overridden below is not expected of ours; `docs/executor.md` gives the reasons.
"""

import importlib
import unittest
from typing import Any

import pytest

from limen import Limen

pytestmark = pytest.mark.slow

HOME = "test.test_concurrent_futures"


def _find(module: str, name: str) -> Any:
    """Find a class of CPython's tests: in one module up to 3.11, in a package from 3.12 on."""
    try:
        home = importlib.import_module(HOME)
    except ImportError:
        pytest.skip(f"this Python comes without {HOME}", allow_module_level=True)
    found = getattr(home, name, None)
    return found or getattr(importlib.import_module(f"{HOME}.{module}"), name)


ExecutorTest = _find("executor", "ExecutorTest")
WaitTests = _find("test_wait", "WaitTests")
AsCompletedTests = _find("test_as_completed", "AsCompletedTests")
ExecutorShutdownTest = _find("test_shutdown", "ExecutorShutdownTest")


class Case(unittest.TestCase):
    """Gives each test an executor of an application of its own, under the name that CPython's tests expect."""

    kind: Any = "thread"
    worker_count = 5

    def setUp(self) -> None:
        """Begin."""
        self.app = Limen()
        self.addCleanup(self.app.close)
        self.executor = self.executor_type(max_workers=self.worker_count)

    def tearDown(self) -> None:
        """End the executor before the application."""
        self.executor.shutdown(wait=True)
        del self.executor

    def executor_type(self, max_workers: int | None = None) -> Any:
        """Make one."""
        return self.app.executor("calls", max_workers=max_workers, executor=self.kind)


class Applicable:
    """Leaves out what is not expected."""

    test_interpreter_shutdown = test_submit_after_interpreter_shutdown = test_hang_gh83386 = test_hang_gh94440 = None
    """They start other interpreters with CPython's executors; at exit ours drops what runs."""
    test_max_workers_negative = None
    """Asks for CPython's words; ours are those of a `ConfigError`, which is a `ValueError` too."""


class TestThreads(Applicable, ExecutorTest, WaitTests, AsCompletedTests, ExecutorShutdownTest, Case):  # type: ignore[misc, valid-type]
    """All of them on threads."""


class TestProcesses(Applicable, ExecutorTest, WaitTests, AsCompletedTests, ExecutorShutdownTest, Case):  # type: ignore[misc, valid-type]
    """All of them on child processes."""

    kind = "process"
    test_cancel_futures = None
    """Asks that one of 50 has begun at once; children are started in the background, so here all may be cancelled."""
