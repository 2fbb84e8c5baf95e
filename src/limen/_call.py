"""A dispatch as the face makes it: a conversation that is its own reply, made in as few steps as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pykka import Timeout

from ._engine import Port
from ._signature import Bound
from .activity import Activity
from .actors import _orders as orders
from .actors._patience import wait_patiently
from .actors.conversation import NEW, Conversation
from .actors.recorder import Recorder
from .actors.runtime import PENDING, Reply, offer, runtime
from .messages.activities import ActivityRequest, Completed


class Call(Reply[Completed], Conversation):  # pyright: ignore[reportIncompatibleMethodOverride]  # `value`
    """One call of one activity. Writes its request and its id only when somebody asks."""

    __slots__ = (
        "_number",
        "_prefix",
        "activity",
        "activity_type",
        "args",
        "arrival",
        "attempts",
        "channel",
        "channel_name",
        "is_plain",
        "kwargs",
        "phase",
        "priority",
    )

    owed_by: Any = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """It lies in no mailbox."""

    if not TYPE_CHECKING:
        __init__ = object.__init__
        """Nothing is set before `begin`, which is quicker to call than a constructor with as many arguments."""

    def begin(  # noqa: PLR0917 - arguments by name take longer
        self,
        activity: Activity[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        port: Port,
        prefix: str,
        number: int,
    ) -> None:
        # Sets what the base classes would; to ask them for it would take twice as long.
        self._open = True
        self._watched = False
        self.value = PENDING
        self.phase = NEW
        self.attempts = ()
        self.activity_type = activity.name
        self.args = args
        self.kwargs = kwargs
        self.channel = port
        self.channel_name = ""
        self.activity = activity
        self._prefix = prefix
        self._number = number
        if activity.is_plain:
            self.is_plain = True
            self.priority = 0
        else:
            self._take_options(activity)

    def _take_options(self, activity: Activity[..., Any]) -> None:
        options = activity.defaults
        self.is_plain = not activity.has_limits and options.key is None
        if options.key is not None:
            self.name_work(options.key, activity.signature.arguments(self._bound))
        self.priority = options.priority
        self.route_by = options.key if options.route_by is None else options.route_by
        self.retry = options.retry
        self.max_crashes = options.max_crashes
        self.dead_letter = options.dead_letter
        if options.wait is not None:
            self._take_time(options.wait.total_seconds())

    def _take_time(self, wait_s: float) -> None:
        """Let its caller wait for room, at most so long. He need not once there is an outcome, either."""
        self.wait_s = wait_s
        self.is_plain = False
        entered = self.entered = runtime().create_future()
        self.reply.add_done_callback(lambda: offer(entered, None))

    def wait_for_room(self) -> None:
        """Block until the channel has let it in, or turned it away; the channel sees to the time."""
        try:
            wait_patiently(self._wait, None)
        except BaseException:  # Ctrl-C, say: nobody has a handle, so nobody wants it
            self._give_up()
            raise

    async def wait_for_room_async(self) -> None:
        """Do the same without blocking the event loop."""
        try:
            await self.entered
        except BaseException:
            self._give_up()
            raise

    def _wait(self, timeout: float | None) -> bool:
        try:
            self.entered.get(timeout=timeout)
        except Timeout:
            return False
        return True

    def _give_up(self) -> None:
        self.channel.session.notice(orders.Cancel(self))

    def again(self) -> Self:
        """Give the same request as if it had just been made, without a channel."""
        twin = super().again()
        vars(twin).pop("_boxes", None)
        Reply.__init__(twin)
        twin.phase, twin.attempts, twin.arrival, twin.channel = NEW, (), 0, None
        return twin

    def open_reply(self) -> None:
        """Do nothing: it is made with one."""

    def record_with(self, recorder: Recorder) -> None:
        """Have every operation kept."""
        self.recorder = recorder
        self.is_plain = False

    answer = Reply.set  # type: ignore[assignment]  # of any object in a box
    """Give the caller the result. Raises `queue.Full` if somebody has done so."""

    @property
    def _bound(self) -> Bound:
        assert self.args is not None, "it is made with arguments"
        return self.args, self.kwargs

    @property
    def reply(self) -> Self:  # type: ignore[override]  # the base class is given it
        """Where its outcome is waited for: itself."""
        return self

    @property
    def id(self) -> str:  # type: ignore[override]  # the base class is given it
        """The id of the conversation."""
        return f"{self._prefix}-{self._number}"

    @property
    def has_limits(self) -> bool:
        """Whether time may run out for it."""
        return self.activity.has_limits

    @property
    def request(self) -> ActivityRequest:  # type: ignore[override]  # the base class is given it
        """The request, made anew each time."""
        return self.activity.request(self._bound)


def call_class(reply_class: type[Reply[Any]]) -> type[Call]:
    """Give calls that are waited for as with this class of replies."""
    if reply_class is Reply:
        return Call
    make: Any = type  # type checkers see no order in these bases
    made: type[Call] = make("Call", (reply_class, Call), {"__slots__": (), "answer": reply_class.set})
    return made
