"""The store of a channel's dead letters: what is kept, with what history, and what makes room."""

from datetime import UTC, datetime

import pytest
from statekit import CHANNEL, make_conversation, make_worker

from limen.actors._dead_letters import ATTEMPTS_KEPT, LetterStore, belongs
from limen.actors.attempt import Attempt
from limen.messages.activities import ActivityRequest
from limen.messages.dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    NoWorkersAvailable,
    PoisonActivity,
    QueueFull,
    UnknownDeadLetter,
)
from limen.messages.errors import ActivityCancelled, ChannelLifecycleError, WorkerCrashed
from limen.messages.payloads import Payload
from limen.messages.retry import Retry

AT = datetime(2024, 5, 17, tzinfo=UTC)
POISON = PoisonActivity(CHANNEL, "w", "encode", 3)
FAILED = ActivityFailed(CHANNEL, "w", "encode", "worker-1", "ValueError", "no")
TIMED_OUT = ActivityTimedOut(CHANNEL, "w", "start_to_close", "encode", "worker-1", 2.0, 1.0)
OTHERS = (
    NoWorkersAvailable(CHANNEL, "w", "encode"),
    QueueFull(CHANNEL, "w", "encode", 1),
    ActivityCancelled("encode"),
    ChannelLifecycleError(CHANNEL, "closed"),
)


def dead(name="c-1", tries=0, **options):
    """Make a request that is given up after some tries."""
    conversation = make_conversation(name, **options)
    conversation.channel_name = CHANNEL
    worker = make_worker()
    for number in range(1, tries + 1):
        attempt = Attempt(conversation, worker, number)
        attempt.error, attempt.charged = WorkerCrashed(CHANNEL, "w", "worker-1", f"crash {number}"), True
        conversation.attempts += (attempt,)
        conversation.crashes += 1
    return conversation


def store_with(*names, **options):
    """Make a store with some letters in it."""
    store = LetterStore(CHANNEL, **options)
    for name in names:
        store.add(dead(name), POISON, AT)
    return store


def ids(store):
    """Name what is there, in order."""
    return [letter.id for letter in store.all()]


@pytest.mark.parametrize(
    ("wanted", "outcome", "kept"),
    [
        (False, POISON, True),
        (False, FAILED, False),
        (False, TIMED_OUT, False),
        (True, POISON, True),
        (True, FAILED, True),
        (True, TIMED_OUT, True),
        *((True, other, False) for other in OTHERS),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_poison_is_kept_and_failures_where_it_was_asked_for(wanted, outcome, kept):
    """Design, dead letters: what was refused, cancelled or closed never ran its course, and its caller knows."""
    assert belongs(make_conversation(dead_letter=wanted), outcome) is kept


@pytest.mark.parametrize("outcome", [FAILED, *OTHERS], ids=lambda each: type(each).__name__)
def test_whatever_was_requeued_and_has_no_result_is_kept(outcome):
    """A requeue that is refused, cancelled or fails in another way loses nothing."""
    conversation = make_conversation()
    conversation.letter = store_with("c-1").all()[0]

    assert belongs(conversation, outcome)


def test_a_letter_tells_what_was_asked_and_what_became_of_it():
    """Request, options, every attempt with worker, incarnation and error, the crashes, why and when."""
    retry = Retry(max_attempts=7)
    conversation = dead("c-1", 2, priority=4, route_by="r", retry=retry, max_crashes=2)

    letter, dropped = LetterStore(CHANNEL).add(conversation, POISON, AT)

    assert dropped == []
    assert (letter.id, letter.channel_name, letter.activity_type) == ("c-1", CHANNEL, "encode")
    assert letter.request == ActivityRequest("encode")
    assert (letter.priority, letter.route_by, letter.retry, letter.max_crashes) == (4, "r", retry, 2)
    assert [(each.number, each.worker_id, each.incarnation, each.charged) for each in letter.attempts] == [
        (1, "worker-1", 1, True),
        (2, "worker-1", 1, True),
    ]
    assert [str(each) for each in letter.errors] == [str(each.error) for each in letter.attempts]
    assert (letter.attempts_made, letter.crashes, letter.error, letter.at, letter.requeues) == (2, 2, POISON, AT, 0)


def test_a_letter_shows_no_payload():
    """ER-10: a list of dead letters may be printed."""
    conversation = dead("c-1")
    conversation.request = ActivityRequest("encode", Payload(b"secret"))

    letter, _ = LetterStore(CHANNEL).add(conversation, POISON, AT)

    assert "secret" not in repr(letter)


def test_the_oldest_letter_makes_room_and_is_counted():
    """Bounded: the newest are kept, and how many were lost is known."""
    store = store_with("a", "b", limit=2)

    _, dropped = store.add(dead("c"), POISON, AT)

    assert [letter.id for letter, _ in dropped] == ["a"]
    assert (ids(store), store.dropped, store.all().dropped) == (["b", "c"], 1, 1)
    assert [letter.id for letter, _ in store.resize(1)] == ["b"]
    assert (ids(store), store.dropped) == (["c"], 2)
    assert [letter.id for letter, _ in store.resize(0)] == ["c"]


def test_a_letter_is_taken_once():
    """Who comes second is told that it is not there."""
    store = store_with("a")

    letter, request = store.take("a")

    assert (letter.id, request.id, request.letter, len(store)) == ("a", "a", letter, 0)
    for verb in (store.take, store.find):
        with pytest.raises(UnknownDeadLetter, match="no dead letter 'a'"):
            verb("a")


def test_what_is_taken_is_the_request_as_if_it_were_new():
    """Nothing of its first life is left in it, and the first life is not touched."""
    conversation = dead("c-1", 3, priority=2, retry=Retry(2))
    conversation.suspect = conversation.is_plain = True
    conversation.errors = (ValueError("no"),)
    store = LetterStore(CHANNEL)
    store.add(conversation, POISON, AT)

    _, request = store.take("c-1")

    assert (request.attempts, request.errors, request.crashes, request.suspect) == ((), (), 0, False)
    assert not request.is_plain
    assert "reply" not in vars(request)
    assert (request.priority, request.retry, request.request) == (2, Retry(2), conversation.request)
    assert (len(conversation.attempts), conversation.crashes) == (3, 3)


def test_a_letter_that_comes_back_has_both_histories():
    """The attempts of all its lives, and how many lives there were."""
    store = LetterStore(CHANNEL)
    store.add(dead("c-1", 2), POISON, AT)
    _, request = store.take("c-1")
    again = dead("c-1", 1)
    again.letter = request.letter

    letter, _ = store.add(again, FAILED, AT)

    assert [each.number for each in letter.attempts] == [1, 2, 1]
    assert (letter.attempts_made, letter.crashes, letter.requeues, letter.error) == (3, 3, 1, FAILED)


def test_a_letter_tells_of_the_latest_attempts_only():
    """Bounded: a request that was retried for days does not fill the memory; the count is right."""
    letter, _ = LetterStore(CHANNEL).add(dead("c-1", ATTEMPTS_KEPT + 5), POISON, AT)

    assert [letter.attempts[0].number, len(letter.attempts)] == [6, ATTEMPTS_KEPT]
    assert letter.attempts_made == ATTEMPTS_KEPT + 5


def test_two_requests_of_one_id_are_told_apart():
    """Ids of conversations are the callers' to choose; those of letters are not."""
    store = store_with("a", "a", "a")

    assert ids(store) == ["a", "a#2", "a#3"]
    assert store.take("a#2")[1].id == "a"
