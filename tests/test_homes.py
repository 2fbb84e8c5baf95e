"""The table of what has one home is about tests that are there."""

import ast
from pathlib import Path

from homes import MOVERS, ONE_HOME, STAYS

HERE = Path(__file__).parent


def _functions(name: str) -> set[str]:
    tree = ast.parse((HERE / name).read_text())
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_test_that_stays_is_there():
    """An entry for a test that was renamed or is gone says so."""
    named = [test.partition("::") for stay in STAYS for test in stay.tests]

    assert [(file, name) for file, _, name in named if name not in _functions(file)] == []
    assert all(file.startswith(MOVERS) for file, _, _ in named)


def test_each_file_that_stays_is_there():
    """The same for whole files, and none is in both tables."""
    assert [name for name in ONE_HOME if not (HERE / name).is_file()] == []
    assert not {test.partition("::")[0] for stay in STAYS for test in stay.tests} & set(ONE_HOME)


def test_each_entry_has_a_reason_of_its_own():
    """No test stays for two reasons, no reason is given twice or left out."""
    tests = [test for stay in STAYS for test in stay.tests]

    assert len(tests) == len(set(tests))
    assert len({stay.reason for stay in STAYS}) == len(STAYS)
    assert all(stay.reason for stay in STAYS)
