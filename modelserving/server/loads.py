"""Take checkpoints in while serving goes on: each once, however many ask, one read after the other.

Does not know HTTP.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from modelserving.server.calls import in_own_thread
from modelserving.server.checkpoints import CheckpointReader, ServedCheckpoint
from modelserving.server.device import is_out_of_memory
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest, Overloaded, ServingError, out_of_memory

logger = logging.getLogger(__name__)

READ_SECONDS = 1800.0  # a directory on a file system that hangs holds others up for no longer
T = TypeVar("T")


class Loads:
    """What is being loaded."""

    def __init__(self, *, engine: Engine, reader: CheckpointReader) -> None:
        """Nothing is being loaded yet."""
        self._engine = engine
        self._reader = reader
        self._one_load = asyncio.Lock()
        self._loading: dict[str, asyncio.Future[ServedCheckpoint]] = {}

    async def load(self, path: str, *, name: str | None) -> ServedCheckpoint:
        """Load once, however many ask at the same time."""
        key = f"{path}\n{name}"
        if key not in self._loading:
            self._loading[key] = asyncio.ensure_future(self._load_now(path, name=name))
            self._loading[key].add_done_callback(lambda _: self._loading.pop(key))
        return await asyncio.shield(self._loading[key])

    async def _load_now(self, path: str, *, name: str | None) -> ServedCheckpoint:
        present = self._engine.checkpoints.get(name or "")
        if present is not None and not present.draining:
            if present.path != str(self._reader.allowed(path)) and present.hash != name:
                raise _name_taken(name)
            return present
        if name is None and (known := await self._known(path)) is not None:
            return known
        base = await self._base(path)
        async with self._one_load:
            checkpoint = await self._read(path, name=name, base=base)
        present = self._engine.checkpoints.get(checkpoint.name)
        if present is not None and not present.draining:
            if present.hash != checkpoint.hash:
                raise _name_taken(name)
            return present
        try:
            await asyncio.wrap_future(self._engine.call(lambda: self._engine.adopt(checkpoint)))
        except ServingError:
            raise
        except Exception as unforeseen:
            if is_out_of_memory(unforeseen):
                raise out_of_memory("in the warm-up") from None
            logger.exception("warming up %s failed", path)
            raise BadRequest(
                f"refused: the warm-up failed: {unforeseen}", code="checkpoint_refused"
            ) from None
        return checkpoint

    async def _known(self, path: str) -> ServedCheckpoint | None:
        """What the directory holds, if it is loaded under its hash."""
        loaded = {
            each.hash: each.path
            for each in self._engine.checkpoints.values()
            if each.name == each.hash and not each.draining
        }
        identity = await _in_time(lambda: self._reader.known(path, loaded=loaded))
        found = self._engine.checkpoints.get(identity or "")
        return None if found is None or found.draining else found

    async def _base(self, path: str) -> ServedCheckpoint | None:
        """The checkpoint that an adapter's directory needs, loaded if it is not; None for whole weights."""
        wanted = await _in_time(lambda: self._reader.base_of(path))
        if wanted is None:
            return None
        for each in self._engine.checkpoints.values():
            if each.hash == wanted and not each.draining:
                return each
        directory = self._reader.directory_of(wanted, beside=path)
        if await _in_time(lambda: self._reader.base_of(str(directory))) is not None:
            raise BadRequest("the base is an adapter itself: merge it", code="checkpoint_refused")
        return await self.load(str(directory), name=wanted)

    async def _read(
        self, path: str, *, name: str | None, base: ServedCheckpoint | None
    ) -> ServedCheckpoint:
        """Read on a thread that then ends: one that stays keeps its own team of OpenMP threads.

        With two teams alive, libgomp lets all threads sleep at every barrier, the engine's too: 25 µs become 58.
        """
        engine, now, is_given_up = self._engine, self._engine.clock(), threading.Event()

        def make_room(wanted: int) -> None:
            if is_given_up.is_set():
                raise _too_slow()
            engine.call(lambda: engine.memory.make_room(wanted, wanted_too=base)).result()

        try:
            return await _in_time(
                lambda: self._reader.read(path, name=name, now=now, make_room=make_room, base=base)
            )
        finally:
            is_given_up.set()


async def _in_time(read: Callable[[], T]) -> T:
    """What reading a directory gives, on a thread of its own: one that hangs is left to itself."""
    reading = in_own_thread(read, name="loader")
    done, _ = await asyncio.wait({reading}, timeout=READ_SECONDS)
    if not done:
        reading.cancel()  # nobody asks for what comes of it
        raise _too_slow()
    return reading.result()


def _too_slow() -> Overloaded:
    return Overloaded(
        f"the directory could not be read within {READ_SECONDS:.0f} s: see to its file system",
        code="load_too_slow", retry_after=30,
    )  # fmt: skip


def _name_taken(name: str | None) -> BadRequest:
    return BadRequest(f"the name {name!r} is taken: unload it first", code="name_taken")
