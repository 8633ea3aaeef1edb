"""Functions that another thread runs, and how their answers come back.

Does not know what they do.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """A function to be called once, and its answer."""

    def __init__(self, function: Callable[[], T]) -> None:
        """Nobody has called it yet."""
        self._function = function
        self.answer: Future[T] = Future()

    def __call__(self) -> None:
        """Call it, unless nobody waits for the answer any more."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self._function())
        except Exception as raised:  # noqa: BLE001 -- carried to the caller
            self.answer.set_exception(raised)

    def refuse(self, error: Exception) -> None:
        """Answer with an error instead."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)


def in_own_thread(function: Callable[[], T], *, name: str) -> "asyncio.Future[T]":
    """Run a function on a thread that then ends, and that nobody waits for when the process does."""
    call = Call(function)
    threading.Thread(target=call, name=name, daemon=True).start()
    return asyncio.wrap_future(call.answer)
