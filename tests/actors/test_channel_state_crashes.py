"""The core of a channel: what becomes of the work of those who die, and who is to blame."""

import pytest
from statekit import CRASH, DONE, NORMAL, Notebook, make_conversation, make_worker, names, started

from limen.actors._channel_state import MAX_UNCHARGED
from limen.actors._decisions import Note
from limen.actors.attempt import HEARD, Attempt
from limen.actors.conversation import CLOSED, PAUSED, RUNNING, WAITING
from limen.actors.recorder import MemoryRecorder
from limen.messages.activities import Failed
from limen.messages.dispatch_errors import (
    NoWorkersAvailable,
    PoisonActivity,
)
from limen.messages.errors import WorkerCrashed
from limen.messages.retry import Retry

FAILED = Failed(ValueError("no"))


def _kinds(decisions):
    return [type(each).__name__ for each in decisions]


def _book(*workers, **options):
    book = Notebook(**options)
    book.join(*(workers or (make_worker(),)))
    return book


def _running(book, *conversations):
    book.submit(*conversations)
    return [each.attempts[-1] for each in conversations]


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_crash_hands_the_same_request_to_another_worker():
    """DP-08: exited is noted as retry-eligible, the dead incarnation is excluded, the conversation is the same."""
    first, second = make_worker("worker-1"), make_worker("worker-2")
    book = _book(first, second)
    conversation = make_conversation(recorder=MemoryRecorder())
    started(*_running(book, conversation))

    decided = book.crash(first)

    assert [type(each) for each in decided] == [Note, Attempt]
    assert decided[0].operation.retryable
    assert [each.worker_id for each in conversation.attempts] == ["worker-1", "worker-2"]
    assert conversation.excluded == (("worker-1", 1),)
    assert conversation.crashes == 1
    assert isinstance(conversation.last_crash, WorkerCrashed)


def test_after_max_crashes_the_request_is_poison():
    """ER-02: the last crash is chained under the error, and its own cause under that."""
    book = Notebook()
    conversation = make_conversation(max_crashes=2)
    for number in (1, 2):
        worker = make_worker(f"worker-{number}")
        book.join(worker, make_worker(f"spare-{number}"))
        if number == 1:
            book.submit(conversation)
        holder = conversation.attempts[-1].entry
        started(conversation.attempts[-1])
        book.crash(holder)

    error = book.outcome(conversation)
    assert isinstance(error, PoisonActivity)
    assert error.crashes == 2
    assert isinstance(error.__cause__, WorkerCrashed)
    assert error.__cause__.__cause__ is CRASH.error


@pytest.mark.parametrize(("reason", "is_started", "crashes"), [(CRASH, True, 1), (CRASH, False, 0), (NORMAL, True, 0)])
def test_only_a_crash_of_what_ran_is_charged(reason, is_started, crashes):
    """LM-04, DP-08: any exit moves the work, but neither a stop nor a queue kills."""
    first = make_worker("worker-1")
    book = _book(first, make_worker("worker-2"))
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    if is_started:
        started(attempt)

    book.crash(first, reason)

    assert conversation.crashes == crashes
    assert conversation.attempts[-1].worker_id == "worker-2"


def test_a_worker_that_leaves_in_good_order_is_no_crash():
    """DP-10, ER-02: nobody is left, and nobody is called crashed who was not."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation()
    started(*_running(book, conversation))

    book.crash(worker, NORMAL)

    error = book.outcome(conversation)
    assert isinstance(error, NoWorkersAvailable)
    assert error.__cause__ is None
    assert "left before it had answered" in str(error)


def test_a_result_that_was_on_its_way_counts_though_its_worker_died():
    """Design, links: a result sent before the death counts; finished work is not done again."""
    first = make_worker("worker-1")
    book = _book(first, make_worker("worker-2"))
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    attempt.outcome = (DONE, False)

    book.crash(first)

    assert book.outcome(conversation) is DONE
    assert attempt.outcome is HEARD
    assert book.do(book.state.finished(attempt, DONE, answered=False)) == []
    assert book.state.late_results == 0


def test_a_caller_who_has_his_answer_is_not_served_again():
    """Design, links: the slot had claimed the attempt before its worker died."""
    first = make_worker("worker-1")
    book = _book(first, make_worker("worker-2"))
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    attempt.claim()

    assert book.crash(first) == []
    assert conversation.phase is CLOSED


def test_a_dead_child_costs_its_own_attempt_and_the_worker_may_serve_it_again():
    """DP-08: another child of the same worker may; so the incarnation is not excluded."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    conversation, other = make_conversation("c-1"), make_conversation("c-2")
    started(*_running(book, conversation, other))

    book.do(book.state.crashed(conversation.attempts[0], CRASH))

    assert [each.worker_id for each in conversation.attempts] == ["worker-1", "worker-1"]
    assert (conversation.crashes, other.crashes, conversation.excluded) == (1, 0, ())
    assert len(worker.attempts) == 2


def test_what_waited_longer_or_matters_more_gets_the_slot_of_a_dead_child():
    """DP-18: a request that comes back takes its place in line, not the first one."""
    book = _book()
    running, urgent = make_conversation("c-1"), make_conversation("c-2", priority=1)
    book.submit(running, urgent)
    started(running.attempts[0])

    book.do(book.state.crashed(running.attempts[0], CRASH))

    assert (urgent.phase, running.phase) == (RUNNING, WAITING)


def test_an_attempt_that_comes_back_unrun_is_handed_on_and_nobody_is_charged():
    """DP-16: but not for ever."""
    book = _book()
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    for _ in range(MAX_UNCHARGED):
        book.do(book.state.returned(conversation.attempts[-1], NORMAL))

    assert conversation.crashes == 0
    assert isinstance(book.outcome(conversation), NoWorkersAvailable)
    assert len(conversation.attempts) == MAX_UNCHARGED
    assert book.state.returned(attempt, NORMAL) == []


def test_retries_do_not_count_against_what_is_lost_without_fault():
    """DP-16: a hundred failures and one crash are no poison."""
    first = make_worker("worker-1")
    book = _book(first, make_worker("worker-2"))
    conversation = make_conversation(retry=Retry(max_attempts=0, initial=0))
    book.submit(conversation)
    for _ in range(MAX_UNCHARGED + 1):
        book.do(book.state.finished(conversation.attempts[-1], FAILED, answered=False))
        book.do(book.state.resume(conversation))

    book.crash(first)

    assert conversation.phase is RUNNING


# --- blame ----------------------------------------------------------------------------------------------------------


def _three_on(worker, book):
    conversations = [make_conversation(f"c-{number}", plain=True) for number in (1, 2, 3)]
    started(*_running(book, *conversations))
    assert len(worker.attempts) == 3
    return conversations


def test_the_one_that_the_executor_names_is_charged_and_nobody_else():
    """Design, blame: a thread that raised `SystemExit` is known."""
    worker = make_worker("worker-1", 3)
    book = _book(worker)
    conversations = _three_on(worker, book)
    book.join(make_worker("worker-2", 3))
    worker.culprit = conversations[1].attempts[0]

    book.crash(worker)

    assert [each.crashes for each in conversations] == [0, 1, 0]
    assert [each.suspect for each in conversations] == [False, False, False]
    assert len(book.state.candidates.entries["worker-2"].attempts) == 3


def test_of_several_suspects_none_is_charged_and_each_runs_alone():
    """Design, blame: only one is guilty; who dies alone is."""
    worker, other = make_worker("worker-1", 3), make_worker("worker-2", 3)
    book = _book(worker)
    conversations = _three_on(worker, book)
    book.join(other)

    book.crash(worker)

    first, second, _ = conversations
    assert [each.crashes for each in conversations] == [0, 0, 0]
    assert names(each.conversation for each in other.attempts) == ["c-1"]
    assert not other.has_room
    started(first.attempts[-1])
    book.do(book.state.finished(first.attempts[-1], DONE, answered=False))
    assert names(each.conversation for each in other.attempts) == ["c-2"]
    started(second.attempts[-1])
    book.crash(other)
    assert [each.crashes for each in conversations] == [0, 1, 0]


def test_a_suspect_waits_until_a_worker_is_empty_and_keeps_it_empty():
    """Design, blame: alone means alone; the others wait for another slot meanwhile."""
    worker, busy = make_worker("worker-1", 2, "encode"), make_worker("worker-2", 2)
    book = _book(worker)
    suspects = [make_conversation("c-1"), make_conversation("c-2")]
    started(*_running(book, *suspects))
    book.join(busy)
    other = make_conversation("other", "resize")
    book.submit(other)

    book.crash(worker)
    late = make_conversation("late")
    book.submit(late)

    assert names(busy.held) == ["c-1"]
    assert [each.phase for each in (*suspects, late)] == [WAITING, WAITING, WAITING]
    book.do(book.state.finished(other.attempts[0], DONE, answered=False))
    assert suspects[0].phase is RUNNING
    assert len(busy.attempts) == 1
    book.do(book.state.finished(suspects[0].attempts[-1], DONE, answered=False))
    assert suspects[1].phase is RUNNING
    book.do(book.state.finished(suspects[1].attempts[-1], DONE, answered=False))
    assert late.phase is RUNNING
    assert busy.has_room


def test_a_suspect_that_is_called_off_gives_its_worker_back():
    """A suspect that hangs must not keep a whole worker for ever; what it does from then on proves nothing."""
    worker, other = make_worker("worker-1", 2), make_worker("worker-2", 2)
    book = _book(worker)
    suspects = [make_conversation("c-1"), make_conversation("c-2")]
    started(*_running(book, *suspects))
    book.join(other)
    book.crash(worker)
    book.submit(make_conversation("late"))
    assert len(other.attempts) == 1

    book.do(book.state.cancel(suspects[0]))
    book.do(book.state.cancel(suspects[1]))

    assert names(sorted((each.conversation for each in other.attempts), key=lambda each: each.arrival)) == [
        "c-1",
        "late",
    ]


def test_a_held_suspect_that_is_cancelled_lets_the_others_in():
    """A worker that is kept free for nobody is on offer again."""
    worker, busy = make_worker("worker-1", 2), make_worker("worker-2", 2)
    book = _book(worker)
    suspects = [make_conversation("c-1"), make_conversation("c-2")]
    started(*_running(book, *suspects))
    book.join(busy)
    running, late = make_conversation("running"), make_conversation("late")
    book.submit(running)
    book.crash(worker)
    book.submit(late)
    assert late.phase is WAITING

    book.do(book.state.cancel(suspects[1]))
    book.do(book.state.cancel(suspects[0]))

    assert late.phase is RUNNING


def test_a_suspect_that_fails_is_cleared():
    """It did not kill; its next try is like any other."""
    worker, other = make_worker("worker-1", 2), make_worker("worker-2", 2)
    book = _book(worker)
    suspects = [make_conversation("c-1", retry=Retry()), make_conversation("c-2")]
    started(*_running(book, *suspects))
    book.join(other)
    book.crash(worker)

    book.do(book.state.finished(suspects[0].attempts[-1], FAILED, answered=False))

    assert not suspects[0].suspect


def test_one_that_was_called_off_and_kills_its_worker_takes_no_innocent_with_it():
    """Design, blame: its thread went on and raised `SystemExit`; the executor names it, so nobody is charged."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    called_off, innocent = make_conversation("c-1", max_crashes=1), make_conversation("c-2", max_crashes=1)
    started(*_running(book, called_off, innocent))
    book.join(make_worker("worker-2", 2))
    book.do(book.state.cancel(called_off))
    worker.culprit = called_off.attempts[0]

    book.crash(worker)

    assert (innocent.crashes, innocent.suspect, innocent.phase) == (0, False, RUNNING)


def test_beside_one_that_was_called_off_nobody_is_charged_without_proof():
    """Design, blame: it may have been the thread that nobody waits for any more; the other one runs again alone."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    called_off, suspect = make_conversation("c-1"), make_conversation("c-2", max_crashes=1)
    started(*_running(book, called_off, suspect))
    book.join(make_worker("worker-2", 2))
    book.do(book.state.cancel(called_off))

    book.crash(worker)

    assert (suspect.crashes, suspect.suspect, suspect.phase) == (0, True, RUNNING)


def test_each_attempt_says_why_it_came_to_nothing():
    """TY-05: a failure, a crash that was charged, one that was not, and a hand-over are told apart."""
    workers = [make_worker(f"worker-{number}") for number in (1, 2, 3)]
    book = _book(workers[0])
    conversation = make_conversation(retry=Retry(initial=0))
    book.submit(conversation)
    book.join(*workers[1:])
    started(conversation.attempts[-1])
    book.do(book.state.finished(conversation.attempts[-1], FAILED, answered=False))
    book.do(book.state.resume(conversation))
    started(conversation.attempts[-1])
    book.crash(workers[0])
    book.do(book.state.leave(workers[1], NORMAL))

    views = conversation.history()
    assert [(each.number, each.worker_id) for each in views] == [
        (1, "worker-1"),
        (2, "worker-1"),
        (3, "worker-2"),
        (4, "worker-3"),
    ]
    assert [type(each.error) for each in views] == [type(FAILED.error), WorkerCrashed, type(None), type(None)]
    assert [each.charged for each in views] == [False, True, False, False]


@pytest.mark.parametrize(("retryable", "phase"), [(True, PAUSED), (False, CLOSED)])
def test_a_worker_that_says_try_again_is_heard(retryable, phase):
    """TY-05: what a worker reports as retryable is tried again where there is a policy, whatever its class."""
    book = _book()
    conversation = make_conversation(retry=Retry(retry_on=OSError))
    book.submit(conversation)

    book.do(
        book.state.finished(conversation.attempts[0], Failed(ValueError("no"), retryable=retryable), answered=False)
    )

    assert conversation.phase is phase
