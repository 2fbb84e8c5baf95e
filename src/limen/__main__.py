"""The command's way in: start the command line, or say in one line what it is missing."""

import sys

_EXTRA = frozenset({"typer", "rich", "structlog"})
"""The distributions of the `cli` extra that the command line cannot do without."""


def main() -> int:
    """Run the `limen` command.

    Without the `cli` extra it writes one line to stderr and returns 2; any other import error is a bug and is raised.
    """
    try:
        from limen.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f'limen: the command line needs {error.name}; install it with: pip install "limen[cli]"', file=sys.stderr)
        return 2
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
