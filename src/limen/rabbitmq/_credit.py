"""How much a host may take of each kind of work: the core of its consuming. Never more than it can soon begin.

What a host may hold of all types that share slots is those slots and one request for each route, so that a slot that
becomes free finds the next request there. Only while all of a type's activities are short may it hold what its slots
do in a few milliseconds. Knows no connection, clock or thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import attrs

from .topology import Lane, Route

TICK_S = 0.02
"""How often a host looks whether its credit is where the work is."""

_QUICK = 4
"""Activities are short when each slot ends so many of them in a tick."""

_MOST_AHEAD = 512
"""How many short activities a route is given in advance at most."""


@attrs.frozen
class Worker:
    """What one local worker takes."""

    channel: str
    activity_types: tuple[str, ...]
    slots: int

    def kinds(self) -> list[Route]:
        """List the normal routes of what it serves."""
        return [Route(self.channel, each) for each in self.activity_types]


class Credit:
    """Shares the slots of the local workers out among the routes."""

    def __init__(self) -> None:
        self._workers: dict[str, list[Worker]] = {}
        """By channel."""
        self._lanes: dict[Route, None] = {}
        """Routes besides the normal ones that are known to be there."""
        self._shares: dict[Route, int] = {}
        self._ahead: dict[Route, int] = {}
        self._parked: dict[Route, int] = {}
        self._paused: set[str] = set()

    # --- what there is ------------------------------------------------------------------------------------------

    def serve(self, channel: str, workers: Iterable[Worker]) -> None:
        """Count with these local workers on a channel from now on, and no others."""
        self._workers[channel] = [each for each in workers if each.slots]
        self._share_evenly()

    def add_lane(self, route: Route) -> None:
        """Take from this route too, as long as its type is served."""
        self._lanes[route] = None
        self._share_evenly()

    def pause(self, channel: str, *, on: bool) -> None:
        """Take nothing of a channel's, or take it again."""
        (self._paused.add if on else self._paused.discard)(channel)

    def kinds(self) -> list[Route]:
        """List the normal routes of all that is served."""
        return list(dict.fromkeys(kind for each in self._all() for kind in each.kinds()))

    def routes(self) -> list[Route]:
        """List all routes that are taken from."""
        kinds = self.kinds()
        return [*kinds, *(each for each in self._lanes if each.normal in kinds)]

    def limits(self) -> dict[Route, int]:
        """Give how much may be held of each route: acknowledged or not, begun or not."""
        return {route: self._limit(route) for route in self.routes()}

    def _limit(self, route: Route) -> int:
        if route.channel in self._paused:
            return 0
        if route.lane is Lane.SUSPECT:
            return 1
        slots = self._shares.get(route, 0)
        return 1 + slots + self._ahead.get(route, 0) + self._parked.get(route, 0)

    # --- where the work is --------------------------------------------------------------------------------------

    def tick(self, held: Mapping[Route, int], ended: Mapping[Route, int], parked: Mapping[Route, int]) -> bool:
        """Move credit to where it is used, given what is held, has ended in this tick, and pauses. Whether it moved."""
        before = self.limits()
        self._parked = {route: count for route, count in parked.items() if count}
        for routes, slots in self._groups():
            self._look_ahead(routes, slots, held, ended)
            self._shift(routes, slots, held)
        return self.limits() != before

    def _look_ahead(
        self, routes: list[Route], slots: int, held: Mapping[Route, int], ended: Mapping[Route, int]
    ) -> None:
        quick = sum(ended.get(route, 0) for route in routes) >= _QUICK * slots > 0
        for route in routes:
            done = ended.get(route, 0)
            full = held.get(route, 0) >= self._limit(route)
            if not quick:
                self._ahead.pop(route, None)
            elif full or done < self._ahead.get(route, 0) // 2:
                self._ahead[route] = min(done, _MOST_AHEAD)

    def _shift(self, routes: list[Route], slots: int, held: Mapping[Route, int]) -> None:
        """Give what some do not use to those that use all they have, as far as slots are free."""
        hungry = [route for route in routes if held.get(route, 0) >= self._limit(route)]
        spare = {route: self._shares.get(route, 0) - held.get(route, 0) for route in routes if route not in hungry}
        free = slots - sum(min(held.get(route, 0), self._shares.get(route, 0)) for route in routes)
        movable = min(free, sum(max(0, each) for each in spare.values()))
        if not hungry or movable <= 0:
            return
        left = movable
        for route, count in spare.items():
            taken = min(max(0, count), left)
            self._shares[route] = self._shares.get(route, 0) - taken
            left -= taken
        for route, share in zip(_urgent_first(hungry), _split(movable, len(hungry)), strict=True):
            self._shares[route] = self._shares.get(route, 0) + share

    def _all(self) -> list[Worker]:
        return [each for workers in self._workers.values() for each in workers]

    # --- sharing ------------------------------------------------------------------------------------------------

    def _share_evenly(self) -> None:
        self._ahead.clear()
        self._shares = {}
        for routes, slots in self._groups():
            normal = [route for route in routes if route.lane is Lane.NORMAL]
            self._shares |= dict(zip(normal, _split(slots, len(normal)), strict=True))

    def _groups(self) -> list[tuple[list[Route], int]]:
        """Put together the routes whose types share slots, directly or through others, with the slots they share."""
        groups: list[tuple[set[Route], int]] = []
        for worker in self._all():
            kinds = set(worker.kinds())
            slots = worker.slots
            apart = []
            for others, count in groups:
                if others & kinds:
                    kinds |= others
                    slots += count
                else:
                    apart.append((others, count))
            groups = [*apart, (kinds, slots)]
        lanes: dict[Route, list[Route]] = defaultdict(list)
        for route in self.routes():
            if route.lane is not Lane.SUSPECT:
                lanes[route.normal].append(route)
        order = list(lanes)
        return [
            ([lane for kind in sorted(kinds, key=order.index) for lane in lanes[kind]], slots)
            for kinds, slots in groups
        ]


def _split(whole: int, parts: int) -> list[int]:
    """Share out as evenly as whole numbers allow, the first getting what is over."""
    if not parts:
        return []
    least, over = divmod(whole, parts)
    return [least + (number < over) for number in range(parts)]


def _urgent_first(routes: Iterable[Route]) -> list[Route]:
    order = (Lane.HIGH, Lane.NORMAL, Lane.LOW)
    return sorted(routes, key=lambda route: order.index(route.lane))
