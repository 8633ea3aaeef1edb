"""Die at any file operation, as SIGKILL would between two of them; knows nothing of what is written."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

import pytest

Made = TypeVar("Made")

OPERATIONS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")  # of os; pathlib calls them


class Crash(BaseException):
    """Stands for the process being gone; no `except Exception` of ours sees it."""


@contextmanager
def dying_at(nth: int) -> Iterator[None]:
    """Let n - 1 file operations through; the nth and all after it do not happen any more.

    Opening a file to write is two of them: before it is there, and when it is there and empty.
    """
    numbers = count(1)

    def live() -> None:
        if next(numbers) >= nth:
            raise Crash

    def mortal(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            live()
            return original(*arguments, **options)

        return call

    opened = io.open

    def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return opened(file, mode, *arguments, **options)
        live()
        handle = opened(file, mode, *arguments, **options)
        try:
            live()
        except Crash:
            handle.close()
            raise
        return handle

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, mortal(getattr(os, name)))
        patch.setattr(io, "open", opening)
        yield


def deaths(
    *, prepare: Callable[[int], Made], act: Callable[[Made], object], at_least: int
) -> Iterator[Made]:
    """What was prepared, after `act` on it died at its first file operation, another at its second, and so on."""
    for nth in count(1):
        made = prepare(nth)
        try:
            with dying_at(nth):
                act(made)
        except Crash:
            yield made
        else:
            break
    assert nth > at_least, f"died {nth - 1} times: some file operations are not seen any more"
