"""What importing the messages costs, and what it leaves for later."""

import limen.messages

HEAVY = "{'asyncio', 'cattrs', 'jsonschema', 'multiprocessing', 'orjson'}"
LATE = f"import sys, limen; print(sorted({HEAVY} & sys.modules.keys()))"


def test_heavy_modules_are_imported_when_they_are_needed(run_python):
    """CH-09, CD-14: nobody pays for validators, converters, event loops or processes before he uses one."""
    done = run_python("-c", LATE)

    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_every_name_that_is_listed_is_there():
    """CD-14: schemas and the codec are imported from here like the rest."""
    assert all(getattr(limen.messages, name, None) is not None for name in limen.messages.__all__)
    assert len(set(limen.messages.__all__)) == len(limen.messages.__all__)
    assert not hasattr(limen.messages, "encode_nothing")
