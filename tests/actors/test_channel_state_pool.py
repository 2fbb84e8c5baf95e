"""The core of a channel: workers come and go, drain, come back; routing functions choose among them."""

import pytest
from statekit import DONE, NORMAL, Notebook, die, make_conversation, make_worker, started

from limen.actors.conversation import CLOSED, ROUTING, RUNNING, WAITING
from limen.actors.routers import RoundRobin
from limen.messages.activities import Failed
from limen.messages.dispatch_errors import (
    NoWorkersAvailable,
    UnknownWorkerSelected,
)

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


# --- the pool -------------------------------------------------------------------------------------------------------


def test_a_worker_that_joins_gets_what_waits():
    """DP-09: one that is added in the middle is eligible."""
    book = _book()
    book.submit(make_conversation("c-1"), make_conversation("c-2"))

    book.join(make_worker("worker-2"))

    assert book.handed[-1].worker_id == "worker-2"


@pytest.mark.parametrize("why", ["dead", "inactive", "retired"])
def test_a_worker_that_is_dead_on_arrival_is_never_offered(why):
    """WC-15: it goes in inactive and is pruned."""
    worker = make_worker()
    if why == "dead":
        die(worker)
    worker.active = why != "inactive"
    worker.origin.retired = why == "retired"
    book = _book(worker)

    assert book.state.serving(None) == []
    assert worker.active is False


def test_leaving_hands_the_work_on_in_the_order_of_the_line():
    """DP-08: when there is room for one of several, it is the one that comes first."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    low, high = make_conversation("low"), make_conversation("high", priority=1)
    book.submit(low, high)
    book.join(make_worker("worker-2", 1))

    book.crash(worker, NORMAL)

    assert (high.phase, low.phase) == (RUNNING, WAITING)


def test_requests_wait_for_the_next_incarnation():
    """DP-08: where the supervisor starts the worker again, nobody is failed meanwhile."""
    worker = make_worker(supervised=True)
    book = _book(worker)
    running, waiting = make_conversation("c-1"), make_conversation("c-2")
    book.submit(running, waiting)
    started(running.attempts[0])

    book.crash(worker)
    assert (running.phase, waiting.phase) == (WAITING, WAITING)
    book.submit(late := make_conversation("late"))
    assert late.phase is WAITING
    book.join(make_worker(supervised=True, origin=worker.origin, incarnation=2))

    assert (running.phase, running.attempts[-1].incarnation) == (RUNNING, 2)
    assert book.state.vacancies == {}


def test_a_vacancy_for_other_work_is_nothing_to_wait_for():
    """DP-10: who is on his way has to serve it, too."""
    worker = make_worker("worker-1", 1, "resize", supervised=True)
    book = _book(worker)
    book.crash(worker)
    conversation = make_conversation("c-1", "encode")

    book.submit(conversation)

    assert isinstance(book.outcome(conversation), NoWorkersAvailable)


@pytest.mark.parametrize("end", ["given up", "unregistered", "dead on arrival and given up"])
def test_nobody_waits_for_a_worker_that_does_not_come(end):
    """DP-10: once the supervisor gives up, or the owner takes it back, what waited for it alone is closed."""
    worker = make_worker(supervised=True)
    book = _book(worker)
    conversation = make_conversation()
    book.submit(conversation)
    book.crash(worker)
    if end.startswith("dead"):
        worker = make_worker(supervised=True, origin=worker.origin, incarnation=2)
        die(worker)
        book.join(worker)
        assert conversation.phase is WAITING
    worker.origin.retired = True

    book.do(book.state.leave(worker, NORMAL) if end == "unregistered" else book.state.give_up(worker))

    assert isinstance(book.outcome(conversation), NoWorkersAvailable)
    assert book.state.vacancies == {}


def test_only_what_nobody_serves_is_closed_when_a_worker_leaves():
    """DP-10: others go on waiting, and so do those whose callers gave them time."""
    encoder, resizer = make_worker("worker-1", 1, "encode"), make_worker("worker-2", 1, "resize")
    book = _book(encoder, resizer)
    patient = make_conversation("patient", "encode", schedule_to_start=9.0)
    hopeless, served = make_conversation("hopeless", "encode"), make_conversation("served", "resize")
    book.submit(make_conversation("e", "encode"), make_conversation("r", "resize"), patient, hopeless, served)

    book.do(book.state.leave(encoder, NORMAL))

    assert [each.phase for each in (patient, hopeless, served)] == [WAITING, CLOSED, WAITING]


def test_slots_that_the_owner_uses_are_not_given_away():
    """WR-02, WR-03: by hand and by dispatch together never more than the maximum."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    book.do(book.state.set_manual(worker, 2))
    conversation = make_conversation()
    book.submit(conversation)
    assert conversation.phase is WAITING
    assert worker.view().available_capacity == 0

    book.do(book.state.set_manual(worker, 1))

    assert conversation.phase is RUNNING
    assert worker.in_flight == 2


def test_a_worker_that_drains_gets_nothing_new():
    """WR-12: it ends what it has; the others take the rest."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    first, second = make_conversation("c-1"), make_conversation("c-2")
    book.submit(first)

    book.do(book.state.drain(worker))
    book.submit(second)

    assert (first.phase, second.phase) == (RUNNING, WAITING)
    assert book.state.serving(None) == [worker]


# --- routing functions ----------------------------------------------------------------------------------------------


def _function_book(*workers):
    book = _book(*workers)
    book.do(book.state.deploy(None))
    return book


def test_the_function_is_asked_with_three_fields_and_the_live_views():
    """DP-11, RT-04: activity type, task queue and content type; the views are copies."""
    book = _function_book(make_worker("worker-1", 2), make_worker("worker-2", 1, "resize"))

    book.submit(make_conversation())

    (ask,) = book.asks
    assert dict(ask.message.items()) == {
        "activity_type": "encode",
        "task_queue": "media",
        "input_content_type": "",
    }
    assert ask.offered == ("worker-1",)


def test_the_choice_is_handed_over():
    """DP-09: the function is asked for every attempt anew."""
    first, second = make_worker("worker-1"), make_worker("worker-2")
    book = _function_book(first, second)
    conversation = make_conversation()
    book.submit(conversation)
    assert conversation.phase is ROUTING

    book.do(book.state.routed(book.asks[0], "worker-2"))
    started(conversation.attempts[0])
    book.crash(second)

    assert conversation.attempts[0].worker_id == "worker-2"
    assert book.asks[1].offered == ("worker-1",)


@pytest.mark.parametrize(
    ("choice", "kind", "text"),
    [
        (None, NoWorkersAvailable, "the router chose nobody"),
        ("ghost", UnknownWorkerSelected, "'ghost'"),
        ("worker-0", NoWorkersAvailable, "no slots at all"),
    ],
)
def test_a_choice_that_cannot_be_carried_out_fails_the_request(choice, kind, text):
    """DP-10, DP-12, TY-07: nobody, an unknown id, or a worker that never takes anything."""
    book = _function_book(make_worker("worker-0", 0), make_worker("worker-1"))
    conversation = make_conversation()
    book.submit(conversation)

    book.do(book.state.routed(book.asks[0], choice))

    assert isinstance(book.outcome(conversation), kind)
    assert text in str(book.outcome(conversation))


def test_a_function_that_fails_fails_the_request_and_the_next_is_asked_about():
    """DP-11: the error is the outcome."""
    book = _function_book()
    first, second = make_conversation("c-1"), make_conversation("c-2")
    book.submit(first, second)
    error = RuntimeError("late")

    book.do(book.state.routing_failed(book.asks[0], error))

    assert book.outcome(first) is error
    assert book.asks[1].conversation is second


def test_a_full_worker_that_is_chosen_is_waited_for_and_holds_up_nobody_else():
    """RT-04, DP-18: the choice stands, the limit too; what another worker can do is done meanwhile."""
    full, idle = make_worker("worker-1"), make_worker("worker-2")
    book = _function_book(full, idle)
    first, second, third = (make_conversation(f"c-{number}") for number in (1, 2, 3))
    book.submit(first, second, third)

    book.do(book.state.routed(book.asks[0], "worker-1"))
    book.do(book.state.routed(book.asks[1], "worker-1"))
    book.do(book.state.routed(book.asks[2], "worker-2"))
    assert [each.phase for each in (first, second, third)] == [RUNNING, WAITING, RUNNING]

    book.do(book.state.finished(first.attempts[0], DONE, answered=False))
    assert second.attempts[0].worker_id == "worker-1"
    assert len(book.asks) == 3


def test_a_worker_that_is_waited_for_and_dies_sets_its_requests_free():
    """DP-09: the function is asked afresh, about those that are left."""
    full, idle = make_worker("worker-1"), make_worker("worker-2")
    book = _function_book(full, idle)
    first, second = make_conversation("c-1"), make_conversation("c-2")
    book.submit(first, second)
    book.do(book.state.routed(book.asks[0], "worker-1"))
    book.do(book.state.routed(book.asks[1], "worker-1"))

    book.crash(full)

    assert book.asks[2].offered == ("worker-2",)
    assert book.state.held == 0


def test_a_worker_that_left_while_the_function_thought_is_asked_about_again():
    """DP-09, DP-12: it was on offer, so it is no unknown one; the function is asked anew, not left waiting."""
    first, second = make_worker("worker-1"), make_worker("worker-2")
    book = _function_book(first, second)
    conversation = make_conversation()
    book.submit(conversation)
    book.do(book.state.leave(first, NORMAL))

    book.do(book.state.routed(book.asks[0], "worker-1"))

    assert (conversation.phase, book.asks[1].offered) == (ROUTING, ("worker-2",))


def test_an_answer_to_an_old_question_is_ignored():
    """RT-06: after a crash of the channel the question is put again, and the first answer is late."""
    book = _function_book()
    conversation = make_conversation()
    book.submit(conversation)
    book.do(book.state.recover())
    old, new = book.asks

    assert book.state.routed(old, "worker-1") == []
    book.do(book.state.routed(new, "worker-1"))
    assert conversation.phase is RUNNING


def test_a_running_call_finishes_on_the_old_function():
    """RT-08: deployed while a call is blocked; its answer counts, and the next request uses the new router."""
    book = _function_book(make_worker("worker-1"), make_worker("worker-2"))
    old, new = make_conversation("old"), make_conversation("new")
    book.submit(old)

    book.do(book.state.deploy(RoundRobin()))
    book.submit(new)
    book.do(book.state.routed(book.asks[0], "worker-2"))

    assert (old.attempts[0].worker_id, new.attempts[0].worker_id) == ("worker-2", "worker-1")


def test_a_built_in_router_takes_those_that_waited_for_a_choice():
    """RT-08: nobody waits on the word of a function that is not there any more."""
    full, idle = make_worker("worker-1"), make_worker("worker-2")
    book = _function_book(full, idle)
    first, second = make_conversation("c-1"), make_conversation("c-2")
    book.submit(first, second)
    book.do(book.state.routed(book.asks[0], "worker-1"))
    book.do(book.state.routed(book.asks[1], "worker-1"))

    book.do(book.state.deploy(RoundRobin()))

    assert second.attempts[0].worker_id == "worker-2"
