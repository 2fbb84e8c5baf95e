"""The house's import rules, read from the source: arrows point down the design's table and never in a circle."""

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[1]

HOUSE = {
    "limen": "src/limen",
    "limen.actors": "actors",
    "limen.messages": "messages",
    "limen.rabbitmq": "src/limen/rabbitmq",
    "limen.testing": "src/limen/testing",
}

STANDARD_LIBRARY = sys.stdlib_module_names | {"annotationlib"}  # the latter from Python 3.14 on

OUTSIDE = {
    "limen.messages": {"attr", "attrs", "cattrs", "jsonschema", "orjson", "referencing"},
    "limen.actors": {"attr", "attrs", "cattrs", "pykka"},
    "limen": {"attr", "attrs", "cattrs", "prometheus_client", "pykka", "rich", "structlog", "typer"},
    "limen.rabbitmq": {"attr", "attrs", "cattrs", "pika", "pykka"},
    "limen.testing": {"attr", "attrs", "pykka", "pytest", "hypothesis"},
}
"""What each package may import besides the standard library and limen.

`referencing` comes with jsonschema: it is how `$ref` is resolved there.
"""

BELOW = {
    "limen.messages": {"limen.messages"},
    "limen.actors": {"limen.actors", "limen.messages"},
    "limen": {"limen", "limen.actors", "limen.messages", "limen.rabbitmq"},
    "limen.rabbitmq": {"limen", "limen.actors", "limen.messages", "limen.rabbitmq"},
    "limen.testing": {"limen", "limen.actors", "limen.messages", "limen.testing"},
}
"""Which of limen's packages each package may import."""

LAYERS = ("runtime", "links", "worker", "channel", "context")
"""Inside `actors`, lowest first: a layer may reach those before it, through whatever lies between."""


@attrs.frozen
class Import:
    """One import: the module that says it, the line, and the full name of what is wanted."""

    module: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def _sources() -> dict[str, Path]:
    """Every module of limen by its full name; a package goes by `name.__init__`."""
    return {
        ".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts)): path
        for package, folder in HOUSE.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.is_relative_to(ROOT / "src/limen/actors") and not path.is_relative_to(ROOT / "src/limen/messages")
    }


SOURCES = _sources()


@functools.cache
def _nodes(module: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    tree = ast.parse(SOURCES[module].read_text(), SOURCES[module])
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _imports(module: str) -> Iterator[Import]:
    for node in _nodes(module):
        match node:
            case ast.Import(names=names):
                yield from (Import(module, node.lineno, name.name) for name in names)
            case ast.ImportFrom(names=names):
                base = _absolute(module, node)
                yield from (Import(module, node.lineno, _narrowest(base, name.name)) for name in names)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _narrowest(base: str, name: str) -> str:
    """`from base import name` means the submodule where there is one, and the package otherwise."""
    for candidate in (f"{base}.{name}", base):
        for module in (candidate, f"{candidate}.__init__"):
            if module in SOURCES:
                return module
    return base


def _package(module: str) -> str:
    return next(
        package
        for package in sorted(HOUSE, key=len, reverse=True)
        if module == package or module.startswith(f"{package}.")
    )


@functools.cache
def _all_imports() -> tuple[Import, ...]:
    return tuple(found for module in SOURCES for found in _imports(module))


def test_every_module_was_read():
    """The rules below look at the real source, links aside."""
    assert {"limen.__init__", "limen.actors.__init__", "limen.messages.__init__"} <= SOURCES.keys()


@pytest.mark.parametrize("package", HOUSE)
def test_arrows_between_packages_only_point_down(package):
    """`limen` imports `actors` imports `messages`, and never the other way."""
    wrong = [
        str(found)
        for found in _all_imports()
        if _package(found.module) == package
        and found.target.partition(".")[0] == "limen"
        and _package(found.target) not in BELOW[package]
    ]

    assert wrong == []


@pytest.mark.parametrize("package", HOUSE)
def test_a_package_needs_nothing_that_it_does_not_declare(package):
    """Messages know no actor library, and the core knows nothing of the command line's."""
    wrong = [
        str(found)
        for found in _all_imports()
        if _package(found.module) == package
        and (top := found.target.partition(".")[0]) != "limen"
        and top not in STANDARD_LIBRARY | OUTSIDE[package]
    ]

    assert wrong == []


def test_the_two_folders_import_relatively():
    """No module inside `actors` and `messages` spells the name `limen`: the folders work wherever they are mapped."""
    wrong = [
        f"{module}:{node.lineno}"
        for module in SOURCES
        if _package(module) in {"limen.actors", "limen.messages"}
        for node in _nodes(module)
        if any(name.split(".")[0] in {"limen", "actors", "messages"} for name in _spelled(node))
    ]

    assert wrong == []


def _spelled(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [node.module] if node.module and not node.level else []


@functools.cache
def _imported_by(module: str) -> frozenset[str]:
    return frozenset(found.target for found in _imports(module) if found.target in SOURCES)


def _reachable(starts: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    ahead = set(starts)
    while ahead:
        module = ahead.pop()
        seen.add(module)
        ahead |= _imported_by(module) - seen
    return seen


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_reaches_only_those_below_it(layer):
    """Inside `actors`: context, channel, worker, links, runtime, each blind to what stands above it."""
    above = LAYERS[LAYERS.index(layer) + 1 :]

    reached = _reachable({module for module in SOURCES if _layer(module) == layer})

    assert [module for module in sorted(reached) if _layer(module) in above] == []


def _layer(module: str) -> str | None:
    """The layer that a module is, or is the core of (`_channel_state` belongs to `channel`)."""
    name = module.removeprefix("limen.actors.").partition(".")[0].removeprefix("_").removesuffix("_state")
    return name if _package(module) == "limen.actors" and name in LAYERS else None


def test_no_module_imports_itself_through_others():
    """There are no circles, inside functions and for type checkers neither."""
    circular = {module for module in SOURCES if module in _reachable(_imported_by(module))}

    edges = [str(found) for found in _all_imports() if found.module in circular and found.target in circular]

    assert edges == []
