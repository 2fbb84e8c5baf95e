"""All that one channel knows and that survives its actor: the book, the fan-out, the router, who listens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..messages.activities import WorkerCapacity
from ..messages.channel import ChannelConfig
from ..messages.events import Event, EventKind
from ..messages.pool import ChannelFigures
from ._channel_state import ChannelState
from ._dead_letters import LetterStore
from ._decisions import Decision
from ._fanout import Fanout
from ._policing import Policing
from ._views import rows_of
from .conversation import Conversation
from .router_loader import RoutingSlot

Listener = Callable[[Event], object]

EVERYTHING = frozenset(EventKind)


class Book:
    """What a channel's actor works on. Its own address, `notice`, is given by who keeps the book."""

    def __init__(self, config: ChannelConfig, queue_limit: int) -> None:
        self.config = config
        self.name = str(config.name)
        self.state = ChannelState(self.name, queue_limit=queue_limit)
        self.fanout = Fanout(config)
        self.routing_slot = RoutingSlot(self.state.router)
        self.listeners: tuple[Listener, ...] = ()
        self.hearers: dict[EventKind, tuple[Listener, ...]] = dict.fromkeys(EventKind, ())
        """Those of them that want to hear of each kind."""
        self._interests: tuple[tuple[Listener, frozenset[EventKind]], ...] = ()
        self.watchers: tuple[Callable[[dict[str, WorkerCapacity]], object], ...] = ()
        """Who is told which workers there are, whenever that changes."""
        self.tray: deque[Conversation] = deque()
        """Requests that have come in and are not in the book yet. Any thread may append."""
        self.waker: Callable[[], object] | None = None
        """Wakes an idle slot that will empty the tray; `None` when none is known to be idle."""
        self.notices: deque[object] = deque()
        """What was said by `notice` and not handled so far. An actor that crashes leaves them to the next."""
        self.unfinished: deque[Decision] = deque()
        """What was decided and not carried out. An actor that crashes leaves this too."""
        self.letters = LetterStore(self.name)
        """Requests that were given up."""
        self.anchor: object = None
        """The channel's own handle while there are dead letters, so that they are not lost with the last other one."""
        self.keeper: object = None
        """The same while there is a pause, a limit or a policy."""
        self.policing: Policing | None = None
        """What policies go by, while there are some."""
        self.incarnation = 0
        """How many actors have worked on it so far."""

    def listen(self, listener: Listener, kinds: frozenset[EventKind] = EVERYTHING) -> None:
        """Call this with every event of these kinds; with none, call it no more. On the channel's turn."""
        others = tuple(each for each in self._interests if each[0] != listener)
        self._interests = (*others, (listener, kinds)) if kinds else others
        self.hearers = {kind: tuple(each for each, wanted in self._interests if kind in wanted) for kind in EventKind}
        self.listeners = tuple(each for each, _ in self._interests)

    def figures(self) -> ChannelFigures:
        """Count what there is. On the channel's turn, so that the figures agree."""
        return ChannelFigures(
            workers=tuple(rows_of(self.state.listed(None))),
            waiting=self.state.waiting.count + self.state.held,
            open=self.state.open_count(),
            subscribers=len(self.fanout),
            unread=self.fanout.unread,
            dead_letters=len(self.letters),
        )

    def let_handle_go(self) -> None:
        """Keep the channel no longer than there are dead letters."""
        if not self.letters:
            self.anchor = None

    def hold_nothing(self) -> None:
        """Keep the channel no longer: it is closed."""
        self.anchor = self.keeper = None

    def notice(self, message: object) -> None:
        """Say something to the channel, ahead of its backlog. Any thread; never blocks."""
        raise NotImplementedError
