"""A RabbitMQ of the tests' own, as a plain process: private ports, data, node name, cookie and name server.

`Broker` is the handle. What it starts is kept by a second process, this very file, that ends with its standard input:
however a test run ends, no broker outlives it, and a test that restarts the broker has no new child to answer for.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_S = 90.0
STOP_S = 30.0
_PORTS = range(20_000, 32_000)
"""Below those that the system hands out, so that a broker that is down keeps its own."""

MISSING = "rabbitmq-server is not installed: tests over a broker are skipped (Debian: apt-get install rabbitmq-server)"


def server_script() -> Path | None:
    """Find the script that starts a node; the ones on the path switch users first."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))  # noqa: PTH207 - a fixed place
    return Path(found[-1]) if found and shutil.which("epmd") else None


class Broker:
    """One broker. It listens on 127.0.0.1 only, and its `guest` may do everything."""

    def __init__(self, folder: Path, *, plugins: str = "rabbitmq_management,rabbitmq_event_exchange") -> None:
        self.folder = folder
        self.port = _free_ports(4)
        self.management_port = self.port + 1
        folder.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(self.port), plugins],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def url(self, vhost: str = "/", *, port: int | None = None, options: str = "") -> str:
        """Give the address of a virtual host, perhaps through another port."""
        name = urllib.parse.quote(vhost, safe="")
        return f"amqp://guest:guest@127.0.0.1:{port or self.port}/{name}{options}"

    def start(self) -> None:
        """Start it, with the data that it had. Blocks until it can be connected to."""
        self._order("start")

    def stop(self) -> None:
        """Stop it in good order."""
        self._order("stop")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._order("kill")

    def control(self, *command: str) -> None:
        """Have `rabbitmqctl` do something. Takes a second or two."""
        self._order(" ".join(("ctl", *command)))

    def close(self) -> None:
        """Kill it for good."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._keeper.communicate(timeout=STOP_S)

    def make_vhost(self, name: str) -> None:
        """Make a virtual host that `guest` may use."""
        quoted = urllib.parse.quote(name, safe="")
        self.api("PUT", f"vhosts/{quoted}")
        self.api("PUT", f"permissions/{quoted}/guest", {"configure": ".*", "write": ".*", "read": ".*"})

    def drop_vhost(self, name: str) -> None:
        """Delete a virtual host and all that is in it."""
        self.api("DELETE", f"vhosts/{urllib.parse.quote(name, safe='')}")

    def ready(self, vhost: str, queue: str) -> int:
        """Count what lies in a queue and has been handed to nobody, as the queue itself counts."""
        import pika

        with pika.BlockingConnection(pika.URLParameters(self.url(vhost))) as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the management plugin."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "content-type": "application/json",
                "authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
            },
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
            text = answer.read()
        return json.loads(text) if text else None

    def _order(self, order: str) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(order + "\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline().strip()
        if answer != "done":
            raise RuntimeError(f"the broker did not {order}: {answer or 'its keeper has ended'}")


def _free_ports(count: int) -> int:
    """Give the first of so many ports in a row that nobody uses now."""
    while True:
        first = random.choice(_PORTS)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


# --- the keeper -------------------------------------------------------------------------------------------------------


class _Keeper:
    """Runs a node and its name server as its children."""

    def __init__(self, folder: Path, port: int, plugins: str) -> None:
        self._folder = folder
        self._port = port
        self._environment = _prepare(folder, port, plugins)
        self._node: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self._folder / "log/stdout.log").open("ab")
        with log:
            self._names = self._run(log, "epmd", "-port", str(self._port + 3))
            self._node = self._run(log, str(server_script()))
        deadline_s = time.monotonic() + START_S
        while not _listens(self._port):  # its listener opens last
            if self._node.poll() is not None or time.monotonic() > deadline_s:
                self.end(signal.SIGKILL)
                raise RuntimeError((self._folder / "log/stdout.log").read_text()[-1500:].replace("\n", " | "))
            time.sleep(0.05)

    def _run(self, log: Any, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def control(self, *command: str) -> None:
        done = subprocess.run(
            [server_script().with_name("rabbitmqctl"), *command],  # type: ignore[union-attr]  # it has been found
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr)[-1500:].replace("\n", " | "))

    def end(self, how: signal.Signals) -> None:
        node, names, self._node, self._names = self._node, self._names, None, None
        if node is not None:
            node.send_signal(how)
            try:
                node.wait(STOP_S)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
        if names is not None:
            names.kill()
            names.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _prepare(folder: Path, port: int, plugins: str) -> dict[str, str]:
    """Write what the node reads, and give the environment that keeps it off everything of the machine's own."""
    for name in ("home", "data", "log"):
        (folder / name).mkdir(exist_ok=True)
    cookie = folder / "home/.erlang.cookie"
    if not cookie.exists():
        cookie.write_text(secrets.token_hex(20))
        cookie.chmod(0o400)
    settings = {
        "listeners.tcp.default": f"127.0.0.1:{port}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": port + 1,
        "heartbeat": 10,
        "consumer_timeout": 86_400_000,
        "disk_free_limit.absolute": "64MB",
        "vm_memory_high_watermark.absolute": "1GB",
        "log.console": "false",
        "log.file": folder / "log/rabbit.log",
    }
    (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (folder / "enabled_plugins").write_text(f"[{plugins}].\n")
    (folder / "rabbitmq-env.conf").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
    environment.pop("NOTIFY_SOCKET", None)
    return environment | {
        "HOME": str(folder / "home"),
        "LC_ALL": "C.UTF-8",
        "ERL_CRASH_DUMP": str(folder / "log/erl_crash.dump"),
        "ERL_EPMD_PORT": str(port + 3),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_NODENAME": f"limen{port}@localhost",
        "RABBITMQ_USE_LONGNAME": "false",
        "RABBITMQ_DIST_PORT": str(port + 2),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "rabbit.pid"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "data/feature_flags"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "data/config"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        "RUNNING_UNDER_SYSTEMD": "true",  # then the script becomes the node, and its pid is the node's
    }


def _keep(folder: str, port: str, plugins: str) -> None:
    keeper = _Keeper(Path(folder), int(port), plugins)
    orders: dict[str, Callable[..., None]] = {
        "start": keeper.start,
        "stop": lambda: keeper.end(signal.SIGTERM),
        "kill": lambda: keeper.end(signal.SIGKILL),
        "ctl": keeper.control,
    }
    try:
        for line in sys.stdin:
            answer = "done"
            try:
                order, *arguments = line.split()
                orders[order](*arguments)
            except Exception as error:  # noqa: BLE001 - said to whoever gave the order
                answer = repr(error)
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()
    finally:
        keeper.end(signal.SIGKILL)


if __name__ == "__main__":
    _keep(*sys.argv[1:])
