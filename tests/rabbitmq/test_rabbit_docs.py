"""What the pages about RabbitMQ show is done, line by line, at a broker."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / f"docs/{name}.md" for name in ("many-machines", "rabbitmq-reference")]

PATIENCE_S = 120.0
_STEP = re.compile(
    r"<!-- file: (?P<name>\S+) -->\n```python\n(?P<code>.*?)^```$|^```console\n(?P<console>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

pytestmark = pytest.mark.slow


class Terminal:
    """A shell that knows just what the page needs: commands, jobs in the background, `kill` and `wait`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": binaries, "PYTHONPATH": str(folder)}
        self.environment.pop("LIMEN_URL", None)
        self.url = url
        self.jobs: list[subprocess.Popen[str]] = []

    def run(self, line: str) -> str:
        """Do what a line says; give what it prints."""
        words = shlex.split(line)
        match words:
            case ["export", *_]:
                self.environment["LIMEN_URL"] = self.url
                return ""
            case ["kill", "-9", number]:
                self._job(number).send_signal(signal.SIGKILL)
                return ""
            case ["wait", number]:
                return self._said(self._job(number))
            case [*command, "&"]:
                self._start(command)
                return ""
            case _:
                return self._said(self._open(words))

    def close(self) -> None:
        """End all jobs."""
        for job in self.jobs:
            job.kill()
            job.communicate()

    def _job(self, number: str) -> subprocess.Popen[str]:
        return self.jobs[int(number.removeprefix("%")) - 1]

    def _start(self, command: list[str]) -> None:
        job = self._open(command)
        self.jobs.append(job)
        if command[:2] == ["limen", "worker"]:
            assert job.stdout is not None
            said = iter(job.stdout.readline, "")
            assert any("serving" in line for line in said), f"{command} ended with {job.wait()}"
            threading.Thread(target=lambda: list(said), daemon=True).start()

    def _open(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _said(self, process: subprocess.Popen[str]) -> str:
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"{process.args!r} is not done after {PATIENCE_S} s: {process.communicate()[0]}")
        assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}: {output}"
        return output


def _steps(text: str) -> Iterator[tuple[str, str]]:
    """Give the files, and the lines typed with what the page says they print, in order."""
    for found in _STEP.finditer(text):
        if found["name"]:
            yield "file " + found["name"], found["code"]
            continue
        for typed in re.split(r"^\$ ", found["console"], flags=re.MULTILINE)[1:]:
            line, _, printed = typed.partition("\n")
            yield line, printed


def test_the_page_is_taken_apart():
    """Files keep their text; each line that is typed comes with what it prints."""
    text = (
        "<!-- file: a.py -->\n```python\nx = 1\n```\n\n```console\n$ python a.py\n1\n2\n$ limen worker a &\n```\n"
        "```sh\npip\n```\n"
    )

    assert list(_steps(text)) == [("file a.py", "x = 1\n"), ("python a.py", "1\n2\n"), ("limen worker a &", "")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_true(page, url, tmp_path):
    """Every file is written and every command run, and each prints what the page says; `…` stands for anything."""
    terminal = Terminal(tmp_path, url)
    try:
        for step, text in _steps(page.read_text()):
            if step.startswith("file "):
                (tmp_path / step.removeprefix("file ")).write_text(text)
                continue
            said = terminal.run(step)
            expected = ".*".join(map(re.escape, text.split("…")))
            assert re.fullmatch(expected, said), f"`{step}` printed:\n{said}\nand should have:\n{text}"
    finally:
        terminal.close()
