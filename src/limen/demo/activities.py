"""What the demo does with a file: read and hash it on one queue, parse and measure it on another.

Child processes import this module, so it needs nothing of the command line's.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from importlib.util import decode_source
from pathlib import Path

import attrs

from .. import activity


@attrs.frozen
class Source:
    """A file as it was read."""

    sha256: str
    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Measures:
    """What there is to know of a file of Python. Compares by all of it."""

    sha256: str
    lines: int
    nodes: int
    functions: int
    classes: int
    depth: int
    """Of the syntax tree; 1 for an empty module."""


@activity(queue="io")
def read(path: str) -> Source:
    """Read a file and hash it. Raises `OSError`."""
    data = Path(path).read_bytes()
    return Source(hashlib.sha256(data).hexdigest(), data)


@activity(queue="cpu", start_to_close=120)
def measure(source: Source) -> Measures:
    """Parse a file and count what is in it. Raises what Python itself does for what is no Python, or not in UTF-8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's code
        tree = ast.parse(decode_source(source.data))
    nodes = functions = classes = depth = 0
    ahead: list[tuple[ast.AST, int]] = [(tree, 1)]
    while ahead:
        node, level = ahead.pop()
        nodes += 1
        depth = max(depth, level)
        functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        classes += isinstance(node, ast.ClassDef)
        ahead.extend((child, level + 1) for child in ast.iter_child_nodes(node))
    return Measures(
        sha256=source.sha256,
        lines=source.data.count(b"\n"),
        nodes=nodes,
        functions=functions,
        classes=classes,
        depth=depth,
    )
