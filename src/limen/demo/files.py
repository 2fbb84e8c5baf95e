"""Which files the demo works on."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders inside the standard library's that are not part of it."""


_LARGE = 8


class NothingToDo(Exception):
    """There are no files to work on; the text says why."""


def standard_library() -> Path:
    """Give the folder of the running Python's own library."""
    return Path(sysconfig.get_paths()["stdlib"])


def find_files(folder: Path | None) -> tuple[Path, list[str]]:
    """Give a folder and the paths of the Python files in it; by default the standard library's.

    Whatever cannot be read or parsed is among them; pipes and the like are not. Raises `NothingToDo`.
    """
    root = folder if folder is not None else standard_library()
    _refuse_unusable(root)
    skipped = {"__pycache__"} | (_INSTALLED if folder is None else frozenset())
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - skipped)
        found += [path for name in sorted(names) if name.endswith(".py") and _is_wanted(path := f"{place}/{name}")]
    if not found:
        raise NothingToDo(f"{root}: there are no .py files in it")
    return root, found


def large_half_way(files: Sequence[str]) -> list[str]:
    """Put the largest files in the middle, where a process is to be killed: it shall be busy then."""
    largest = sorted(files, key=_size)[-_LARGE:]
    others = [path for path in files if path not in largest]
    middle = len(files) // 2
    return [*others[:middle], *reversed(largest), *others[middle:]]


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _refuse_unusable(root: Path) -> None:
    if not root.exists():
        raise NothingToDo(f"{root}: no such folder")
    if not root.is_dir():
        raise NothingToDo(f"{root}: not a folder")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise NothingToDo(f"{root}: {error.strerror or error}") from error


def _is_wanted(path: str) -> bool:
    """Leave out what would keep a reader waiting for ever; a link to nowhere is somebody's mistake, and stays."""
    return Path(path).is_file() or (Path(path).is_symlink() and not Path(path).exists())


def shown(path: str, root: Path) -> str:
    """Give a path as it can be printed anywhere."""
    return os.path.relpath(path, root).encode("utf-8", "backslashreplace").decode()
