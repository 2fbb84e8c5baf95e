"""Routing functions, loaded: named by a strong hash, shared while in use, forgotten afterwards.

A function that is given a name and a version is the only one of that label while it is loaded; another is refused.
Knows nothing of how a function is run.
"""

from __future__ import annotations

import inspect
import math
import threading
import weakref

import attrs

from ..messages.routing import RoutingFunction
from ..messages.routing_errors import RouterConflict
from ._fingerprints import Fingerprint
from .routers import LeastLoaded, Router

__all__ = ["LIMIT_S", "LoadedRouter", "RoutingSlot", "load_router"]

LIMIT_S = 5.0
"""How long a routing function may take, unless it was loaded with another limit."""


@attrs.frozen(eq=False, weakref_slot=True)
class LoadedRouter:
    """A routing function, ready to be deployed. Compared by identity; keeps its function loaded while it lives."""

    function: RoutingFunction
    hash: str
    """SHA-256 over name, version and body, in hex."""
    limit_s: float
    label: str | None
    """`name@version`, if the function was given a name."""
    _body: _Body = attrs.field(repr=False)


@attrs.define(eq=False, weakref_slot=True)
class _Body:
    """One function under one label, however many limits it is loaded with."""

    function: RoutingFunction
    hash: str
    label: str | None
    fingerprint: Fingerprint
    loaded: weakref.WeakValueDictionary[float, LoadedRouter] = attrs.field(factory=weakref.WeakValueDictionary)

    def with_limit(self, limit_s: float) -> LoadedRouter:
        router = self.loaded.get(limit_s)
        if router is None:
            router = self.loaded[limit_s] = LoadedRouter(self.function, self.hash, limit_s, self.label, self)
        return router


class _Library:
    """All that is loaded in this process."""

    def __init__(self) -> None:
        # Reentrant: a collection in the middle of loading may run a finaliser that loads.
        self._lock = threading.RLock()
        self._by_hash: weakref.WeakValueDictionary[str, _Body] = weakref.WeakValueDictionary()
        self._by_label: weakref.WeakValueDictionary[str, _Body] = weakref.WeakValueDictionary()

    def load(self, function: RoutingFunction, label: str | None, limit_s: float) -> LoadedRouter:
        fingerprint = Fingerprint.of(function)
        with self._lock:
            body = self._labelled(label, fingerprint) if label is not None else self._unlabelled(fingerprint)
            if body is None:
                body = self._add(function, label, fingerprint)
            return body.with_limit(limit_s)

    def _labelled(self, label: str, fingerprint: Fingerprint) -> _Body | None:
        body = self._by_label.get(label)
        if body is not None and not body.fingerprint.matches(fingerprint):
            raise RouterConflict(label, body.hash)
        return body

    def _unlabelled(self, fingerprint: Fingerprint) -> _Body | None:
        """Look through the functions without a name whose digests are the same."""
        number = 0
        while (body := self._by_hash.get(_hash(None, fingerprint, number))) is not None:
            if body.fingerprint.matches(fingerprint):
                return body
            number += 1
        return None

    def _add(self, function: RoutingFunction, label: str | None, fingerprint: Fingerprint) -> _Body:
        number = 0
        while (hashed := _hash(label, fingerprint, number)) in self._by_hash:
            number += 1
        body = _Body(function, hashed, label, fingerprint)
        self._by_hash[hashed] = body
        if label is not None:
            self._by_label[label] = body
        return body

    def loaded(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted(self._by_hash))


_library = _Library()


def load_router(
    function: RoutingFunction, name: str | None = None, version: str | None = None, *, limit_s: float = LIMIT_S
) -> LoadedRouter:
    """Make a routing function ready to be deployed. Loading the same one again gives the same `LoadedRouter`.

    Give a `name`, and a `version` when it changes, to recognise it in reports. Without a name nothing is refused and
    every function has a hash of its own. Raises `RouterConflict` when another function is loaded under that name and
    version, `TypeError` for what is no plain function.
    """
    if not callable(function):
        raise TypeError(f"a routing function must be callable, not a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("a routing function must be a plain function, neither a coroutine function nor a generator")
    if not limit_s > 0 or math.isinf(limit_s):
        raise ValueError(f"limit_s must be a number of seconds above 0, not {limit_s!r}")
    if name is None and version is not None:
        raise ValueError("a version needs a name")
    return _library.load(function, None if name is None else f"{name}@{version or ''}", limit_s)


def loaded_hashes() -> tuple[str, ...]:
    """Name all routing functions that are in use in this process."""
    return _library.loaded()


def _hash(label: str | None, fingerprint: Fingerprint, number: int) -> str:
    import hashlib

    return hashlib.sha256("\0".join((repr(label), fingerprint.digest, str(number))).encode()).hexdigest()


class RoutingSlot:
    """Holds the router that is active on a channel. Any thread.

    Who routes reads `active` once and uses what it got: a call that runs when another router is deployed finishes on
    the old one, and the next call uses the new one.
    """

    __slots__ = ("_active", "_swapping")

    def __init__(self, router: Router | LoadedRouter | None = None) -> None:
        self._swapping = threading.Lock()
        self._active: Router | LoadedRouter = LeastLoaded() if router is None else router

    @property
    def active(self) -> Router | LoadedRouter:
        """The router for the next call."""
        return self._active

    @property
    def active_hash(self) -> str:
        """Which one that is: the hash of a routing function, or the name of a built-in router."""
        return self._active.hash

    def deploy(self, router: Router | LoadedRouter) -> Router | LoadedRouter:
        """Put another router in place at once, and give back the one before. Does not wait for running calls."""
        if not isinstance(router, LoadedRouter) and not callable(getattr(router, "pick", None)):
            raise TypeError(f"deploy a built-in router or what load_router gave, not a {type(router).__name__}")
        with self._swapping:
            before, self._active = self._active, router
        return before
