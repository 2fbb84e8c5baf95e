"""Keys in a channel's core: one piece of work for all who ask for it, its end for those who come later."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statekit import CRASH, DONE, Notebook, make_conversation, make_request, make_worker, started

from limen.actors._decisions import CallOff, Close
from limen.actors._keys import Keys
from limen.actors.conversation import CLOSED, JOINED, RUNNING, WAITING
from limen.actors.recorder import MemoryRecorder
from limen.messages.activities import Completed, Failed
from limen.messages.dispatch_errors import ActivityFailed, KeyConflict, QueueFull
from limen.messages.errors import ActivityCancelled
from limen.messages.operations import OperationKind
from limen.messages.payloads import Payload
from limen.messages.retry import Retry

FAILED = Failed(ValueError("no"))


def keyed(name, *, key="k", kind="encode", **options):
    """Make a request with a key."""
    return make_conversation(name, kind, key=key, **options)


def book_with(*conversations, workers=1, **options):
    """Make a book with some workers, and hand the requests in."""
    book = Notebook(**options)
    book.join(*(make_worker(f"worker-{number}") for number in range(1, workers + 1)))
    book.submit(*conversations)
    return book


def end(book, result: Completed | Failed = DONE):
    """Let the one attempt that runs have this result."""
    (attempt,) = (each for entry in book.state.candidates for each in entry.attempts)
    started(attempt)
    book.do(book.state.finished(attempt, result, answered=False))


# --- joining ----------------------------------------------------------------------------------------------------------


def test_all_who_ask_while_it_runs_share_one_piece_of_work():
    """Design, keys: executed once; each caller has an id of his own and the one result."""
    first, second, third = callers = [keyed(f"c-{number}") for number in range(3)]
    book = book_with(*callers, workers=3)

    assert len(book.handed) == 1
    assert [each.phase for each in callers] == [JOINED] * 3
    assert {each.work for each in callers} == {book.handed[0].conversation}
    assert [each.joined_id for each in callers] == [None, "c-0", "c-0"]
    assert second.history() == third.history() == first.history()
    end(book)
    assert [book.outcome(each) for each in callers] == [DONE] * 3
    assert book.state.open_count() == 0


def test_a_result_is_there_for_whoever_comes_later():
    """Nothing is run; its attempts, failures and crashes are those of the work that was done."""
    first = keyed("c-1", retry=Retry(max_attempts=2, initial=0))
    book = book_with(first)
    end(book, FAILED)
    book.do(book.state.resume(first.work))
    end(book)
    late = keyed("c-2")
    book.submit(late)

    assert book.outcome(late) is DONE
    assert (late.joined_id, late.phase, len(book.handed)) == ("c-1", CLOSED, 2)
    assert late.history() == first.history()
    assert (late.failures, late.charges) == (first.failures, 0)
    assert [str(each) for each in late.failures] == ["no"]


@pytest.mark.parametrize("result", [FAILED, Failed(KeyError("x"))])
def test_a_failure_frees_the_key(result):
    """DU-17: all who waited get it, and the next one tries again, as with Temporal's and Oban's defaults."""
    first, second = keyed("c-1"), keyed("c-2")
    book = book_with(first, second)
    end(book, result)
    again = keyed("c-3")
    book.submit(again)

    assert all(isinstance(book.outcome(each), ActivityFailed) for each in (first, second))
    assert (again.phase, again.joined_id, len(book.handed)) == (JOINED, None, 2)


def test_a_refusal_frees_the_key():
    """DU-17: what was never run is not remembered."""
    book = Notebook(queue_limit=0)
    book.join(make_worker())
    busy, refused = make_conversation("busy"), keyed("c-1")
    book.submit(busy, refused)

    assert isinstance(book.outcome(refused), QueueFull)
    end(book)
    again = keyed("c-2")
    book.submit(again)
    assert again.work.phase is RUNNING


def test_other_arguments_under_a_key_are_a_conflict():
    """The request is refused, whether the work runs or has ended, and nothing of it is lost."""
    first = keyed("c-1")
    book = book_with(first)

    def other(name):
        made = make_conversation(name)
        made.request = make_request()
        made.name_work("k", Payload(b"other"))
        return made

    early, late = other("c-2"), other("c-3")
    book.submit(early)
    end(book)
    book.submit(late)

    for conflict in (early, late):
        error = book.outcome(conflict)
        assert isinstance(error, KeyConflict)
        assert (error.activity_type, error.key) == ("encode", "k")
    assert book.outcome(first) is DONE


def test_keys_of_different_activities_do_not_meet():
    """DU-16: a key belongs to an activity."""
    one, other = keyed("c-1", key="k"), keyed("c-2", key="k", kind="resize")
    book = book_with(one, other, workers=2)

    assert len(book.handed) == 2


# --- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaver", [0, 1])
def test_one_who_leaves_gives_up_his_own_part_only(leaver):
    """The work goes on for the other, also when it was the first who left."""
    callers = [keyed("c-1"), keyed("c-2")]
    book = book_with(*callers)

    book.do(book.state.cancel(callers[leaver]))

    assert isinstance(book.outcome(callers[leaver]), ActivityCancelled)
    assert book.called_off == []
    end(book)
    assert book.outcome(callers[1 - leaver]) is DONE


def test_the_work_is_called_off_when_nobody_wants_it_any_more():
    """The last one to leave takes it with him, and the key is free."""
    callers = [keyed("c-1"), keyed("c-2")]
    book = book_with(*callers)
    for each in callers:
        book.do(book.state.cancel(each))

    assert [type(book.outcome(each)) for each in callers] == [ActivityCancelled] * 2
    assert book.called_off == book.handed
    assert book.state.keys.live == book.state.keys.ended == {}


def test_work_that_waits_and_that_nobody_wants_never_starts():
    """It leaves the line."""
    waiting = keyed("c-1")
    book = book_with(make_conversation("busy"), waiting)
    assert waiting.work.phase is WAITING

    decided = book.do(book.state.cancel(waiting))

    assert [type(each) for each in decided] == [Close]
    assert isinstance(book.outcome(waiting), ActivityCancelled)
    assert book.state.waiting.count == 0


def test_a_caller_whose_own_time_is_up_leaves_like_one_who_cancels():
    """`schedule_to_close` is how long a caller waits; the others wait as long as they like."""
    first, second = keyed("c-1"), keyed("c-2")
    first.accepted_s = 0.0
    book = book_with(first, second)

    book.do(book.state.timed_out(first, "schedule_to_close", 1.0, 1.5))

    error = book.outcome(first)
    assert (error.limit, error.worker_id, error.elapsed_s) == ("schedule_to_close", "worker-1", 1.5)
    end(book)
    assert book.outcome(second) is DONE


def test_a_crash_moves_the_work_and_all_who_wait_for_it():
    """The attempts that a joined caller sees are those of the work."""
    callers = [keyed("c-1"), keyed("c-2")]
    book = book_with(*callers, workers=2)
    started(*book.handed)
    book.crash(next(iter(book.state.candidates)), CRASH)
    end(book)

    assert [book.outcome(each) for each in callers] == [DONE] * 2
    assert [[each.worker_id for each in caller.history()] for caller in callers] == [["worker-1", "worker-2"]] * 2
    assert [caller.charges for caller in callers] == [1, 1]


def test_the_close_reaches_every_caller():
    """Work and callers end with the same error, once each."""
    callers = [keyed("c-1"), keyed("c-2")]
    book = book_with(*callers)
    error = RuntimeError("closed")

    decided = book.do(book.state.close(error))

    assert [book.outcome(each) for each in callers] == [error] * 2
    assert [type(each) for each in decided] == [CallOff, Close, Close, Close]
    assert book.state.open_count() == 0


# --- recovery ---------------------------------------------------------------------------------------------------------


def test_work_that_was_lost_between_two_steps_is_found_again():
    """CH-14: a channel that crashed as it placed the work; the next actor does it."""
    caller = keyed("c-1")
    book = book_with(caller)
    work = caller.work
    work.phase, work.attempts = type(work).phase, ()
    for entry in book.state.candidates:
        entry.attempts.clear()

    book.do(book.state.recover())
    end(book)

    assert book.outcome(caller) is DONE


def test_callers_whose_work_has_ended_unsaid_are_told():
    """CH-14: nobody waits for ever for what a crash has swallowed."""
    caller = keyed("c-1")
    book = book_with(caller)
    caller.work.phase = CLOSED

    book.do(book.state.recover())

    assert "crashed" in str(book.outcome(caller))
    assert book.state.keys.live == {}


# --- the record -------------------------------------------------------------------------------------------------------


def test_the_work_is_recorded_in_the_name_of_the_first_who_still_wants_it():
    """Its attempts stand in one record; a joined one says with whom, and each ends with a close of its own."""
    recorder = MemoryRecorder()
    callers = [keyed(f"c-{number}", recorder=recorder) for number in (1, 2)]
    book = book_with(*callers)
    scribe = callers[0].work.recorder
    assert scribe is not None

    def sent():
        scribe.record(callers[0].work.operation(OperationKind.MESSAGE_SENT, book.handed[0]))

    sent()
    book.do(book.state.cancel(callers[0]))
    sent()
    scribe.record(callers[0].work.operation(OperationKind.CONVERSATION_CLOSED))

    assert [(each.conversation_id, str(each.kind)) for each in recorder.operations()] == [
        ("c-1", "message_sent"),
        ("c-2", "message_sent"),
    ]
    assert scribe.outcome("c-1") is None
    end(book)
    sent()
    assert len(recorder.operations()) == 2


# --- how long it is remembered ----------------------------------------------------------------------------------------


def ended(keys, name, at_s, outcome: Completed | BaseException = DONE):
    """Put an end into the table."""
    caller = keyed(name, key=name)
    claim = keys.open(("encode", name), caller, caller)
    keys.end(claim, outcome, at_s, keep=True)
    return claim


def test_an_end_is_remembered_for_its_time_and_no_longer():
    """DU-13, DU-15: counted from the end; a duplicate does not refresh it, and what still runs has no time."""
    keys = Keys(ttl_s=60.0)
    claim = ended(keys, "a", 1.0)
    live = keys.open(("encode", "live"), keyed("live"), keyed("live"))

    assert keys.find(("encode", "a"), 60.9) is claim
    assert keys.find(("encode", "a"), 61.0) is None
    assert not keys.ended
    assert keys.find(("encode", "live"), 1e9) is live


def test_the_oldest_end_makes_room_and_is_counted():
    """Bounded in number too; what runs is not counted, for the queue bounds that."""
    keys = Keys(limit=2)
    for number in range(3):
        ended(keys, str(number), number)
    keys.open(("encode", "live"), keyed("live"), keyed("live"))

    assert [name for _, name in keys.ended] == ["1", "2"]
    assert keys.dropped == 1
    keys.resize(1, 5.0)
    assert ([name for _, name in keys.ended], keys.dropped, keys.ttl_s) == (["2"], 2, 5.0)
    keys.resize(None, None)
    assert (keys.limit, keys.ttl_s) == (1, 5.0)


def test_a_key_held_by_a_dead_letter_is_freed_with_it():
    """Whoever dispatches it again while the letter lies there gets the error of the letter."""
    keys = Keys()
    error = RuntimeError("poison")
    claim = ended(keys, "a", 0.0, error)
    claim.letter_id = "letter"
    ended(keys, "b", 0.0)

    assert keys.find(("encode", "a"), 1.0) is claim
    keys.release("letter")
    assert keys.find(("encode", "a"), 1.0) is None
    assert keys.find(("encode", "b"), 1.0) is not None


@given(
    steps=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 5)), max_size=60),
    limit=st.integers(0, 4),
)
def test_the_table_is_what_a_simple_one_would_be(steps, limit):
    """Whatever is opened, ended and looked up in whatever order: the newest ends within their time, and no others."""
    keys, now_s = Keys(limit=limit, ttl_s=10.0), 0.0
    model: dict[str, float] = {}
    for name, keep, wait_s in steps:
        now_s += wait_s
        model = {each: at_s for each, at_s in model.items() if at_s + 10.0 > now_s}
        found = keys.find(("encode", name), now_s)
        assert (found is not None) is (name in model)
        if found is not None:
            assert found.ended_s == model[name]
            continue
        claim = keys.open(("encode", name), caller := keyed(name, key=name), caller)
        assert keys.end(claim, Completed(), now_s, keep=keep) == [caller]
        assert keys.end(claim, Completed(), now_s, keep=keep) == []
        if keep:
            model[name] = now_s
            while len(model) > limit:
                del model[next(iter(model))]
        assert [each for _, each in keys.ended] == list(model)
