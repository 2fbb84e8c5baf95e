"""The text of errors that are not ours. Their classes may do anything."""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """Give an error's text. Never raises: a user's `__str__` must not bring down whoever reports the error."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - as above
        return "its text cannot be had"


def kind_and_text(error: BaseException) -> str:
    """Give the name of an error's class too. Never raises."""
    return f"{type(error).__name__}: {text_of(error)}"
