"""The URL of a broker, taken apart: `amqp://user:password@host:port/vhost?option=value`.

Knows no client library. What it gives never shows the password, not even in a traceback's `repr`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any

import attrs

from ..messages.errors import ConfigError

PORTS = {"amqp": 5672, "amqps": 5671}

MAX_SIZE = 8 * 1024 * 1024
"""How large a message may be, in bytes: half of what RabbitMQ 4 takes by default."""

_LEAST_HEARTBEAT_S = 1


@attrs.frozen(kw_only=True)
class Tls:
    """How an `amqps` connection is secured. Without anything said: the system's authorities, and the host's name."""

    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@attrs.frozen(kw_only=True)
class Address:
    """Where a broker is and how it is talked to. Lengths of time are in seconds."""

    host: str
    port: int
    user: str
    password: str = attrs.field(repr=False)
    vhost: str = "/"
    tls: Tls | None = None
    heartbeat: int = 10
    """After about twice this without a sign of life, either side takes the connection for lost."""
    connect_timeout: float = 5.0
    publish_timeout: float = 30.0
    """How long a message may wait until the broker has it, through reconnects and alarms."""
    blocked_timeout: float = 300.0
    """How long the broker may refuse to read before the connection is made anew."""
    max_size: int = MAX_SIZE
    """How many bytes a message may have, sent or received."""

    def __str__(self) -> str:
        """Give it without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{host}:{self.port}/{urllib.parse.quote(self.vhost, safe='')}"


def is_broker_url(url: str) -> bool:
    """Whether this names a RabbitMQ broker."""
    return url.partition(":")[0].lower() in PORTS


def parse(url: str, setting: str = "url") -> Address:
    """Take a URL apart. Raises `ConfigError`, which quotes nothing of it but option names."""
    try:
        parts = urllib.parse.urlsplit(url)
        port, host = parts.port, parts.hostname
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError(setting, "is no URL: amqp://user:password@host:port/vhost") from None
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise ConfigError(setting, "must begin with amqp:// or amqps://")
    if parts.fragment:
        raise ConfigError(setting, "must have no '#': write it as %23")
    options = _options(pairs, setting)
    tls = {name: options.pop(name) for name in _TLS_OPTIONS if name in options}
    if tls and scheme != "amqps":
        raise ConfigError(setting, f"{', '.join(tls)}: only an amqps:// URL has these")
    return Address(
        host=host or "localhost",
        port=port or PORTS[scheme],
        user=_unquoted(parts.username, "guest"),
        password=_unquoted(parts.password, "guest"),
        vhost=_vhost(parts.path, setting),
        tls=Tls(**tls) if scheme == "amqps" else None,
        **options,
    )


def _unquoted(text: str | None, default: str) -> str:
    return default if text is None else urllib.parse.unquote(text)


def _vhost(path: str, setting: str) -> str:
    """Source: RabbitMQ URI specification, but that no path and a bare slash both mean the default `/`."""
    if "/" in path[1:]:
        raise ConfigError(setting, "the vhost must not contain '/': write it as %2f")
    return urllib.parse.unquote(path[1:]) or "/"


def _options(pairs: list[tuple[str, str]], setting: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, text in pairs:
        if name not in _OPTIONS:
            raise ConfigError(setting, f"has an option {name!r}; there are {', '.join(_OPTIONS)}")
        if name in given:
            raise ConfigError(setting, f"has the option {name!r} twice")
        try:
            given[name] = _OPTIONS[name](text)
        except ValueError as error:
            raise ConfigError(setting, f"option {name!r}: {error}") from None
    return given


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"must be a whole number from {least} on")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ValueError("must be a number of seconds above 0")
    return value


def _yes(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _file(text: str) -> str:
    if not text:
        raise ValueError("must name a file")
    return text


_TLS_OPTIONS: dict[str, Callable[[str], Any]] = {
    "verify": _yes,
    "ca_file": _file,
    "cert_file": _file,
    "key_file": _file,
}

_OPTIONS: dict[str, Callable[[str], Any]] = {
    "heartbeat": _whole(_LEAST_HEARTBEAT_S),
    "connect_timeout": _seconds,
    "publish_timeout": _seconds,
    "blocked_timeout": _seconds,
    "max_size": _whole(1),
    **_TLS_OPTIONS,
}
