"""What the documents show runs: each Python snippet, each example, and the README's first example is the quickstart."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FENCE = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)

NO_RUN = "<!-- no-run -->"
"""On the line above a snippet: it shows signatures, not something to run."""

FILE = "<!-- file: "
"""On the line above a snippet: it is a file that the page's commands use. See tests/rabbitmq/test_rabbit_docs.py."""

DOCUMENTS = sorted(
    path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")) if path.is_file()
)

EXAMPLES = sorted(ROOT.glob("examples/*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _runnable(text: str) -> Iterator[re.Match[str]]:
    for fence in FENCE.finditer(text):
        above = text[: fence.start()].rstrip().rpartition("\n")[2].strip()
        if above != NO_RUN and not above.startswith(FILE):
            yield fence


def _as_script(text: str) -> str:
    """Keep the runnable snippets, each on the lines where the document has it, so that tracebacks name those lines."""
    lines = [""] * (text.count("\n") + 1)
    for fence in _runnable(text):
        start = text.count("\n", 0, fence.start("code"))
        code = textwrap.dedent(fence["code"]).splitlines()
        lines[start : start + len(code)] = code
    return "\n".join(lines) + "\n"


def test_snippets_keep_their_lines():
    """A snippet lands on its own lines, without its indent; one marked `no-run`, or a file, does not land at all."""
    text = (
        f"Text.\n\n```python\na = 1\n```\n\n{NO_RUN}\n```python\nb = 2\n```\n\n- item\n\n  ```python\n  c = 3\n  ```\n"
        f"\n{FILE}d.py -->\n```python\nd = 4\n```\n"
    )

    kept = {number: line for number, line in enumerate(_as_script(text).splitlines(), 1) if line}

    assert kept == {4: "a = 1", 15: "c = 3"}


@pytest.mark.slow
@pytest.mark.parametrize("document", [path for path in DOCUMENTS if any(_runnable(path.read_text()))], ids=_name)
def test_snippets_run(document, run_python, tmp_path):
    """A document's snippets run top to bottom as one script, with warnings as errors."""
    script = tmp_path / f"{document.stem}.py"
    script.write_text(_as_script(document.read_text()))

    done = run_python("-W", "error", script, timeout_s=60)

    assert done.returncode == 0, (
        f"{_name(document)}'s snippets ended with status {done.returncode}; line numbers are its own:\n{done.stdout}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=_name)
def test_example_runs(example, run_python):
    """Each file in examples/ runs by itself, ends by itself, and says so with status 0."""
    done = run_python("-W", "error", example, timeout_s=120)

    assert done.returncode == 0, f"{_name(example)} ended with status {done.returncode}; it said:\n{done.stdout}"


def test_the_readme_shows_the_quickstart():
    """The README's first example is examples/quickstart.py, to the letter."""
    shown = FENCE.search((ROOT / "README.md").read_text())

    assert shown is not None, "the README shows no Python"
    assert shown["code"] in (ROOT / "examples/quickstart.py").read_text()
