"""What `module:name` on the command line stands for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import Activity, Limen
from ..messages.errors import ConfigError


def load_activities(target: str) -> list[Activity[..., Any]]:
    """Give the activities that `module` or `module:name` names, the folder we are in included in the search.

    A module stands for all its activities, as does anything else in it that holds none itself: an application, say.
    Raises `ConfigError`; whatever the module raises when it is imported goes through.
    """
    module, found = _load(target)
    if isinstance(found, Activity):
        return [found]
    inside = _activities_in(found) or _activities_in(module)
    if not inside:
        raise ConfigError(target, "there is no activity in it; decorate a function with @activity")
    return inside


def load_activity(target: str) -> Activity[..., Any]:
    """Give the one activity that `module:name` names. Raises `ConfigError`."""
    found = load_activities(target)
    _, _, name = target.partition(":")
    if len(found) == 1:
        return found[0]
    raise ConfigError(target, f"must name one activity, as in {target.removesuffix(':' + name)}:{found[0].name}")


def load_application(target: str) -> Limen:
    """Give the application that `module:name` names: a `Limen`, or what a function that takes nothing makes.

    A module stands for the only one in it. Raises `ConfigError`.
    """
    module, found = _load(target)
    if found is module:
        apps = {id(each): each for each in vars(module).values() if isinstance(each, Limen)}
        found = next(iter(apps.values())) if len(apps) == 1 else None
    if callable(found) and not isinstance(found, Limen | Activity):
        found = found()
    if not isinstance(found, Limen):
        raise ConfigError("--app", f"{target} must name a Limen, or a function that makes one")
    return found


def _load(target: str) -> tuple[ModuleType, Any]:
    module_name, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not module_name.startswith(error.name):
            raise
        raise ConfigError(target, f"there is no module {module_name!r} here or among the installed ones") from error
    found: Any = module
    for part in name.split(".") if name else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigError(target, f"module {module_name!r} has no {name!r}") from None
    return module, found


def _activities_in(found: Any) -> list[Activity[..., Any]]:
    held = vars(found).values() if hasattr(found, "__dict__") and not isinstance(found, Iterable) else found
    try:
        each_once = dict.fromkeys(each for each in held if isinstance(each, Activity))
    except TypeError:  # nothing to go through
        return []
    return list(each_once)
