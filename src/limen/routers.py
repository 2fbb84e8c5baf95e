"""The routers that ship with limen, for `Limen.route`."""

from .actors.routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin

__all__ = ["Affinity", "ConsistentHash", "LeastLoaded", "RoundRobin"]
