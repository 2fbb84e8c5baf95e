"""Which tests have two homes, and which few of them cannot move to the other one.

The tests of `face` say what users see, so they hold for an application that is all in one process and for one whose
work goes over a broker. Some files have one home only, for they test what there is in one process; some tests stay,
each for a reason that is the broker's or the wire's. What stays is run over a broker too and must fail there, so that
no entry outlives its reason; but for those where that is a matter of luck, or of minutes.
"""

import attrs

MOVERS = "face/"
"""Where the tests are that have two homes."""

ONE_HOME = {
    "face/test_demo.py": "the demo shows what happens in one process, and is embedded whatever the environment says",
    "face/test_executor.py": "calls of any function are pickled; a broker has no executors, and says so",
    "face/test_executor_cpython.py": "as above",
    "face/test_executor_processes.py": "as above",
}
"""Files that stay as a whole. (Tests in virtual time stay by themselves: a simulation has no sockets.)"""


@attrs.frozen
class Stay:
    """Some tests that have one home, and why."""

    reason: str
    tests: tuple[str, ...]
    fails: bool = True
    """Whether they are run over a broker, and must fail."""


STAYS = (
    Stay(
        "arguments travel as data: what arrives is equal, and not the same object, nor of a type that JSON lacks",
        (
            "face/test_face_arguments.py::test_a_function_without_annotations_takes_and_gives_anything",
            "face/test_face_dead_letters.py::test_poison_is_found_among_the_dead_letters",
            "face/test_face_dispatch.py::test_a_result_goes_with_the_last_who_holds_it",
        ),
    ),
    Stay(
        "a traceback travels as text, under the cause",
        ("face/test_face_dispatch.py::test_a_failure_is_raised_with_its_cause",),
    ),
    Stay(
        "the test reaches into the channel of this process",
        (
            "face/test_face_dispatch.py::test_a_slot_that_is_woken_for_nothing_leaves_what_can_only_wait",
            "face/test_face_events.py::test_a_closed_stream_is_taken_off_its_channels",
            "face/test_face_queues.py::test_a_pause_outlives_the_channels_actor",
        ),
    ),
    Stay(
        "that an attempt has begun is news on another machine, and takes a moment to come",
        (
            "face/test_face_dispatch.py::test_waiting_is_bounded",
            "face/test_face_keys.py::test_a_second_dispatch_joins_the_first",
        ),
        fails=False,
    ),
    Stay(
        "priorities hold among requests that wait on a host; of some that are on their way the first wins",
        (
            "face/test_face_dispatch.py::test_higher_priority_goes_first",
            "face/test_face_queues.py::test_a_paused_queue_starts_nothing_and_forgets_nothing",
        ),
        fails=False,
    ),
    Stay(
        "the test gives a request ten milliseconds to begin",
        ("face/test_face_map.py::test_leaving_early_cancels_what_is_under_way",),
        fails=False,
    ),
    Stay(
        "a queue of a broker outlives its workers: what nobody serves now waits for a host that is yet to come",
        (
            "face/test_face_dead_letters.py::test_a_requeue_that_nobody_serves_comes_back",
            "face/test_face_draining.py::test_where_there_is_no_other_worker_callers_are_told",
            "face/test_face_draining.py::test_an_unregister_ends_a_drain",
        ),
    ),
    Stay(
        "what takes one book over all workers is refused: a limit of one activity, policies of pressure",
        (
            "face/test_face_policies.py::test_shedding_and_slowing_on_real_threads",
            "face/test_face_queues.py::test_no_more_run_at_once_than_the_limit_over_all_workers",
            "face/test_face_queues.py::test_a_limit_is_never_exceeded_whatever_comes_in",
            "face/test_face_queues.py::test_a_limit_holds_in_child_processes",
            "face/test_face_queues.py::test_a_limit_of_zero_holds_an_activity_back_and_lifting_it_lets_it_go",
            "face/test_face_queues.py::test_starts_are_spread_as_the_rate_says",
        ),
    ),
    Stay(
        "a router chooses among the workers of its own process, and is set when there are some",
        (
            "face/test_face_workers.py::test_a_queue_can_have_another_router",
            "face/test_face_workers.py::test_requests_with_one_key_meet_at_one_worker",
            "face/test_face_workers.py::test_a_function_of_the_users_decides",
            "face/test_face_workers.py::test_a_routing_function_that_goes_wrong_costs_that_request_only",
        ),
    ),
    Stay(
        "keys are kept by the process that asks, and dead letters by the broker: neither knows of the other",
        (
            "face/test_face_keys.py::test_poison_keeps_its_key_while_its_letter_lies_there",
            "face/test_face_keys.py::test_a_requeue_whose_key_is_taken_joins_and_loses_nothing",
        ),
    ),
    Stay(
        "a host that closes hands a request that pauses between two tries on to others, who may be in time",
        ("face/test_face_shutdown.py::test_a_retry_that_would_come_too_late_is_given_up_at_once",),
        fails=False,
    ),
    Stay(
        "events are told by hosts: what no host has taken yet, and who joins what, is not among them",
        (
            "face/test_face_keys.py::test_a_joined_dispatch_is_on_record_and_told",
            "face/test_face_events.py::test_what_is_called_off_is_told_apart_from_what_failed",
            "face/test_face_shutdown.py::test_running_work_ends_and_waiting_requests_are_told_at_once",
        ),
        fails=False,
    ),
    Stay(
        "the broker bounds its queues itself, by a policy; `bound` says so",
        (
            "face/test_face_queues.py::test_a_dispatch_is_accepted_deferred_or_rejected",
            "face/test_face_queues.py::test_a_queue_without_a_bound_has_no_signals",
            "face/test_face_queues.py::test_dispatch_waits_for_room_as_long_as_it_may",
            "face/test_face_queues.py::test_dispatch_that_waits_in_vain_gives_a_handle_that_says_so",
            "face/test_face_queues.py::test_an_event_loop_goes_on_while_a_coroutine_waits_for_room",
            "face/test_face_queues.py::test_a_caller_that_waits_for_room_is_let_go_by_the_close",
            "face/test_face_queues.py::test_map_waits_for_room_and_is_never_rejected",
            "face/test_face_queues.py::test_map_takes_no_more_items_than_there_is_room_for",
            "face/test_face_queues.py::test_keyed_work_waits_for_room_once_for_all_who_ask_for_it",
            "face/test_face_queues.py::test_a_rejection_is_an_event",
            "face/test_face_dead_letters.py::test_a_queue_keeps_so_many_letters",
        ),
    ),
)
