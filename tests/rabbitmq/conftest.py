"""Two applications at one broker, one that has workers and one that asks; and work that waits at a gate."""

from collections.abc import Iterator

import pytest
from facekit import Work

from limen import Limen


@pytest.fixture
def host(url: str) -> Iterator[Limen]:
    """An application that has workers."""
    with Limen(url) as made:
        yield made


@pytest.fixture
def asker(url: str) -> Iterator[Limen]:
    """An application that has none."""
    with Limen(url) as made:
        yield made


@pytest.fixture
def at() -> Iterator[Work]:
    """Work that waits at a gate, which is open at the end, so that no thread stays behind."""
    made = Work()
    yield made
    made.gate.set()
