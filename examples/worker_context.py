"""The lower layer: a worker that fetches its own requests, and a channel that is asked and told like any actor."""

from limen.actors import ChannelActor, WorkerContext, WorkerRegistration
from limen.messages import (
    ActivityRequest,
    Completed,
    DispatchRequest,
    DispatchResponse,
    Payload,
    WorkerCapacity,
    decode_request,
    dispatch_channel,
)


def serve_one(registration: WorkerRegistration) -> DispatchRequest:
    """Fetch one request and answer it with its own text in capitals."""
    envelope = registration.next(timeout=10)
    assert envelope is not None, "a request was dispatched to this worker"
    assert registration.current_in_flight == 1
    message = decode_request(envelope.payload)
    assert isinstance(message.request.input, Payload)
    shouted = Payload(message.request.input.data.upper(), "text/plain")
    assert registration.respond(envelope, Completed(shouted))
    return message


def main() -> None:
    """Register, look, ask, tell, and leave."""
    name = dispatch_channel("default", "texts")
    shout = ActivityRequest("shout", Payload(b"hello", "text/plain"))
    with WorkerContext() as context:
        assert context.workers_for_channel(name) == []
        registration = context.register_worker("default", "texts", WorkerCapacity(2, ("shout",)))
        (worker,) = context.workers_for_channel(name, shout)
        print(f"{worker.worker_id} has {worker.consumer_state.available_capacity} free slots on {name}")

        handle = context.find_channel(name)
        assert handle is not None
        assert handle.ref().actor_class is ChannelActor
        future = handle.ref().ask(DispatchRequest(conversation_id="c-1", request=shout), block=False)
        serve_one(registration)
        response = future.get(timeout=10)
        print(response)
        assert response == DispatchResponse(
            worker_id=worker.worker_id, result=Completed(Payload(b"HELLO", "text/plain"))
        )

        handle.ref().tell(DispatchRequest(conversation_id="c-2", request=shout))  # nobody waits for the answer
        assert serve_one(registration).conversation_id == "c-2"

        registration.unregister()
        assert context.workers_for_channel(name) == []


main()
