"""What an address says, as the client library takes it; and what that says of a failure, without credentials."""

from __future__ import annotations

import logging
import os
import socket
import ssl

import pika

from .url import Address

_quiet = logging.getLogger("pika")
if _quiet.level == logging.NOTSET:
    # It tells of each failed attempt to connect, at length and as an error; we tell of each outage, once.
    _quiet.setLevel(logging.CRITICAL)


def parameters(address: Address) -> pika.ConnectionParameters:
    """Say to the client what the address says."""
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=address.heartbeat,
        blocked_connection_timeout=address.blocked_timeout,
        socket_timeout=address.connect_timeout,
        stack_timeout=address.connect_timeout * 2,
        ssl_options=_tls(address),
        client_properties={"product": "limen", "connection_name": f"limen-{socket.gethostname()}-{os.getpid()}"},
        tcp_options={"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3},
    )


def _tls(address: Address) -> pika.SSLOptions | None:
    """Give the set-up of a secure connection; authorities and the host's name are checked unless that was refused."""
    tls = address.tls
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=tls.ca_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return pika.SSLOptions(context, address.host)


def scrubbed(address: Address, error: object) -> str:
    """Say what went wrong, without the credentials that it may quote."""
    text = str(error) or repr(error)
    for secret in (address.password, address.user):
        if secret:
            text = text.replace(secret, "***")
    return text
