"""Dead letters over a broker, hostile messages, and requests that may have killed their hosts."""

import json

import pika
import pytest
import rabbit_activities as acts
from rabbithosts import Diary, Host

from limen import (
    ActivityFailed,
    ConfigError,
    DecodeError,
    Limen,
    MessageTooLarge,
    PoisonActivity,
    UnknownDeadLetter,
    activity,
)
from limen.messages.activities import ActivityRequest, Completed
from limen.messages.payloads import Payload
from limen.rabbitmq import codec, topology

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 60


def test_poison_is_kept_with_its_history(host, asker):
    """Any process lists it: what was asked, what became of it and where."""
    host.worker("work", [acts.die], executor="process", max_concurrent=1)
    handle = asker.dispatch(acts.die)
    assert isinstance(handle.exception(timeout=TIMEOUT_S), PoisonActivity)

    (letter,) = asker.dead_letters("work")
    assert (letter.id, letter.activity_type, letter.crashes, letter.requeues) == (handle.id, "die", 2, 0)
    assert isinstance(letter.error, PoisonActivity)
    assert [each.charged for each in letter.attempts] == [True, True]
    assert host.dead_letters("work") == asker.dead_letters("work")


def test_what_failed_for_the_last_time_is_kept_if_that_was_asked_for(host, asker):
    """The option travels with the request."""
    host.worker("work", [acts.fail])
    kept, not_kept = acts.fail.options(dead_letter=True), acts.fail
    for each in (kept, not_kept):
        assert isinstance(asker.dispatch(each, "no").exception(timeout=TIMEOUT_S), ActivityFailed)

    (letter,) = asker.dead_letters("work")
    assert isinstance(letter.error, ActivityFailed)
    assert isinstance(letter.error.__cause__, LookupError)


def test_a_letter_is_tried_again(host, asker):
    """The same request gives a handle of the right type; it is among the dead letters no more."""
    tries = []

    @activity(queue="work", dead_letter=True)
    def grow(job: acts.Job) -> acts.Job:
        tries.append(job)
        if len(tries) == 1:
            raise LookupError
        return acts.Job(job.name, (len(tries),))

    host.worker("work", [grow])
    handle = asker.dispatch(grow, acts.Job("a"))
    handle.exception(timeout=TIMEOUT_S)
    again = host.requeue(grow, handle.id)

    assert again.result(timeout=TIMEOUT_S) == acts.Job("a", (2,))
    assert again.id == handle.id
    assert tries == [acts.Job("a")] * 2
    assert asker.dead_letters("work") == ()


def test_a_letter_that_fails_again_comes_back_with_a_longer_history(host, asker):
    """So that a requeue loses nothing."""
    host.worker("work", [acts.fail])
    handle = asker.dispatch(acts.fail.options(dead_letter=True), "no")
    handle.exception(timeout=TIMEOUT_S)
    for _ in range(2):
        assert isinstance(asker.requeue("work", handle.id).exception(timeout=TIMEOUT_S), ActivityFailed)

    (letter,) = asker.dead_letters("work")
    assert (letter.id, letter.requeues, letter.attempts_made, len(letter.attempts)) == (handle.id, 2, 3, 3)


def test_a_letter_is_thrown_away(host, asker):
    """Once; the others stay."""
    host.worker("work", [acts.fail])
    handles = [asker.dispatch(acts.fail.options(dead_letter=True), str(number)) for number in range(3)]
    for handle in handles:
        handle.exception(timeout=TIMEOUT_S)

    assert asker.discard("work", handles[1].id).id == handles[1].id
    with pytest.raises(UnknownDeadLetter):
        host.discard("work", handles[1].id)
    with pytest.raises(UnknownDeadLetter):
        asker.requeue("work", "no such letter")
    with pytest.raises(ConfigError, match="is for 'fail', not for 'double'"):
        asker.requeue(acts.double, handles[0].id)
    assert [letter.id for letter in asker.dead_letters("work")] == [handles[0].id, handles[2].id]


HOSTILE = [
    b"",
    b"\x00\xff" * 100,
    b"[]",
    b"null",
    b'{"content_type": "nonsense"}',
    b"[" * 50_000,
    json.dumps({"content_type": codec.REQUEST, "conversation_id": "", "request": {}}).encode(),
    json.dumps(
        {"content_type": codec.REQUEST, "conversation_id": "a", "request": {"activity_type": "double"}}
    ).encode(),
    codec.write_request("id", ActivityRequest("another type", Payload(b"[[1],{}]", "application/json")), 0),
]


def test_hostile_messages_are_set_aside_and_stop_nobody(broker, vhost):
    """What is no request goes to the dead letters with its reason, as it came; the host serves on."""
    url = broker.url(vhost, options="?max_size=100000")
    with Limen(url) as app, pika.BlockingConnection(pika.URLParameters(broker.url(vhost))) as connection:
        app.worker("work", [acts.double])
        key = topology.Route("aion.dispatch.default.work", "double").key
        channel = connection.channel()
        channel.confirm_delivery()
        for number, body in enumerate([*HOSTILE, b"x" * 100_001]):
            properties = pika.BasicProperties(message_id=f"bad-{number}", headers={"odd": [1, {"x": None}]})
            channel.basic_publish(topology.DISPATCH, key, body, properties, mandatory=True)
        bad = codec.write_request("odd", ActivityRequest("double", Payload(b"[[1],{}]", "application/json")), 0)
        channel.basic_publish(topology.DISPATCH, key, bad, pika.BasicProperties(headers={codec.OPTIONS: "no"}))

        assert app.dispatch(acts.double, 4).result(timeout=TIMEOUT_S) == 8
        letters = {letter.id: letter for letter in app.dead_letters("work")}

    assert len(letters) == len(HOSTILE) + 2
    for number, body in enumerate(HOSTILE):
        letter = letters[f"bad-{number}"]
        assert isinstance(letter.error, DecodeError)
        assert letter.request.input == Payload(body)
    assert isinstance(letters[f"bad-{len(HOSTILE)}"].error, MessageTooLarge)


def test_what_is_no_request_cannot_be_tried_again(broker, vhost, host):
    """It can be thrown away."""
    host.worker("work", [acts.double])
    with pika.BlockingConnection(pika.URLParameters(broker.url(vhost))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        key = topology.Route("aion.dispatch.default.work", "double").key
        channel.basic_publish(topology.DISPATCH, key, b"no", pika.BasicProperties(message_id="bad"))
    assert host.dispatch(acts.double, 1).result(timeout=TIMEOUT_S) == 2

    with pytest.raises(ConfigError, match="is no request"):
        host.requeue("work", "bad")
    host.discard("work", "bad")
    assert host.dead_letters("work") == ()


def test_what_came_back_to_the_broker_is_not_held_against_a_suspect(broker, vhost, url):
    """Consumers that end in good order give requests back too: only a death while it ran alone makes it poison."""
    route = topology.Route("aion.dispatch.default.work", "double", topology.Lane.SUSPECT)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare(topology.DISPATCH, "direct", durable=True)
        channel.queue_declare(route.key, durable=True, arguments=route.queue.arguments)
        channel.queue_bind(route.key, topology.DISPATCH, route.key)
        replies = channel.queue_declare("", exclusive=True).method.queue
        body = codec.write_request("odd", ActivityRequest("double", Payload(b"[[4],{}]", "application/json")), 0)
        headers = codec.write_treatment(codec.Treatment(host_deaths=2))
        properties = pika.BasicProperties(content_type=codec.REQUEST, headers=headers, reply_to=replies)
        channel.basic_publish(topology.DISPATCH, route.key, body, properties, mandatory=True)
        for _ in range(5):
            method, _, _ = channel.basic_get(route.key)
            assert method is not None
            channel.basic_nack(method.delivery_tag, requeue=True)

        with Limen(url) as host:
            host.worker("work", [acts.double])
            _, _, outcomes = next(channel.consume(replies, inactivity_timeout=TIMEOUT_S))
            assert outcomes is not None, "there is no outcome"
            (outcome,) = codec.read_outcomes(outcomes)
            assert host.dead_letters("work") == ()

    assert outcome.result == Completed(Payload(b"8", "application/json"))


def test_what_kills_its_hosts_is_poison_and_its_neighbours_are_not(url, asker, tmp_path):
    """One request kills each host that runs it, in the company of three others: only that one is given up.

    It is run again, then alone; after the third death there is no doubt. The others have their results, and no host
    dies for nothing: as many deaths as the request may cost.
    """
    diary, gate = Diary(tmp_path / "killer"), Diary(tmp_path / "innocent")
    activities = ("hold", "kill_host")
    hosts = [Host(url, *activities, slots=4).wait_ready()]
    try:
        innocents = [asker.dispatch(acts.hold, str(gate.path)) for _ in range(3)]
        gate.wait_starts(3)
        killer = asker.dispatch(acts.kill_host, str(diary.path))
        for death in range(1, 4):
            diary.wait_starts(death)
            if death == 2:
                gate.let_go()
            hosts.append(Host(url, *activities, slots=4).wait_ready())
        error = killer.exception(timeout=TIMEOUT_S)

        assert isinstance(error, PoisonActivity)
        assert error.crashes == 3
        assert [each.result(timeout=TIMEOUT_S) > 0 for each in innocents] == [True] * 3
        assert len(diary.starts()) == 3
        (letter,) = asker.dead_letters("work")
        assert (letter.id, letter.crashes) == (killer.id, 3)
    finally:
        for each in hosts:
            each.__exit__()
