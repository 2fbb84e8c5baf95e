"""Two applications at one broker: one that has workers, and one that asks."""

from collections.abc import Iterator

import pytest

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
