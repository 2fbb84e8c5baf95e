"""What the tests of the `limen` command share: a module in the folder it is called in, and the call."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from limen.cli import app


def module_in(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module into the folder, call commands from there until the test ends, and give the module's name."""
    name = f"cli_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("LIMEN_URL", raising=False)
    return name


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments))
