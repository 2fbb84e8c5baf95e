"""Signs of life: when a silent broker is given up."""

import pytest

from limen.rabbitmq._vigil import Vigil


@pytest.mark.parametrize(
    ("received", "alive"),
    [
        ([8, 16, 24], [True, True, True]),
        ([8, 8, 8, 8, 16], [True, True, True, True, True]),
        ([8, 8, 8, 8, 8], [True, True, True, True, False]),
        ([8, 8, 8, 16, 16, 16, 16, 16], [True] * 7 + [False]),
    ],
)
def test_a_silent_broker_is_given_up_after_two_heartbeats(received, alive):
    """Four looks in a row, two to a heartbeat, at which nothing had come since the last; one sign begins it anew."""
    vigil = Vigil()

    assert [vigil.look(each) for each in received] == alive
