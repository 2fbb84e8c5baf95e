"""How many restarts are borne: of a supervisor's children, of a worker, of a channel's actor."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt

__all__ = ["RestartIntensity"]


@attrs.frozen
class RestartIntensity:
    """How many restarts within how long a time are borne; one more is one too many. Source: OTP, restart intensity."""

    max_restarts: int = attrs.field(default=3, validator=ge(0))
    within_s: float = attrs.field(default=5.0, validator=gt(0))
