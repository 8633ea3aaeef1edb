"""The checkpoints in memory, and what leaves so that all of them, with their keys and values, keep to a bound.

Changed by the engine thread only. Does not know requests, HTTP or the clock.
"""

from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.errors import Overloaded, Refused
from modelserving.server.metrics import Metrics


class Memory:
    """What is loaded, within `limit` bytes."""

    def __init__(self, *, limit: int, metrics: Metrics) -> None:
        """Nothing is loaded yet."""
        self.checkpoints: dict[str, ServedCheckpoint] = {}  # replaced, never changed in place
        # drained ones whose name is taken again: what runs in them is finished
        self._leaving: list[ServedCheckpoint] = []
        self.limit = limit
        self._metrics = metrics

    @property
    def bytes_used(self) -> int:
        """Of everything that is loaded."""
        return sum(each.bytes_used for each in self.every)

    @property
    def every(self) -> list[ServedCheckpoint]:
        """What takes requests, and what only finishes those that it has."""
        return [*self.checkpoints.values(), *self._leaving]

    def put(self, checkpoint: ServedCheckpoint) -> None:
        """Serve a checkpoint; one of its name finishes what runs."""
        replaced = self.checkpoints.get(checkpoint.name)
        if replaced is not None and replaced.is_busy:
            replaced.draining = True
            self._leaving.append(replaced)
        self.checkpoints = {**self.checkpoints, checkpoint.name: checkpoint}
        self._metrics.count("checkpoints_loaded")

    def drop(self, checkpoint: ServedCheckpoint) -> None:
        """Forget a checkpoint."""
        self.checkpoints = {k: v for k, v in self.checkpoints.items() if v is not checkpoint}
        self._leaving = [each for each in self._leaving if each is not checkpoint]
        self._metrics.count("checkpoints_unloaded")

    def is_base(self, checkpoint: ServedCheckpoint) -> bool:
        """Whether an adapter reads this checkpoint's weights."""
        return any(each.base is checkpoint for each in self.checkpoints.values())

    def make_room(self, wanted: int, *, wanted_too: ServedCheckpoint | None = None) -> None:
        """Unload what was used longest ago until `wanted` bytes fit; never what is in use.

        Where they would not fit in the end, everything stays.
        """
        self._check_room(wanted, wanted_too=wanted_too)
        while self.bytes_used + wanted > self.limit:
            self._drop_oldest(but=wanted_too)

    def _check_room(self, wanted: int, *, wanted_too: ServedCheckpoint | None) -> None:
        text = f"{wanted} bytes do not fit into the memory budget of {self.limit}"
        if wanted + (wanted_too.bytes_used if wanted_too else 0) > self.limit:
            raise Refused(f"{text}: raise --memory-budget", code="memory_budget")
        may_go = self._may_go(but=wanted_too)
        if self.bytes_used - sum(each.bytes_used for each in may_go) + wanted > self.limit:
            raise Overloaded(
                f"{text} while other checkpoints are in use: try later or raise --memory-budget",
                code="memory_budget",
                retry_after=10,
            )

    def may_start(self, checkpoint: ServedCheckpoint, more: int) -> bool:
        """Whether something that waits and takes `more` bytes may run now; where nothing runs, it may in any case.

        A checkpoint that waits with nothing running comes before what those that run would add.
        """
        others = [each for each in self.every if each is not checkpoint]
        if checkpoint.running and any(each.waits_for_room for each in others):
            return False
        return self.has_room(more) or not any(each.running for each in self.every)

    def room_of(self, checkpoint: ServedCheckpoint) -> int:
        """Bytes that a checkpoint's samples may take where it is alone."""
        weights = checkpoint.weight_bytes + (checkpoint.base.weight_bytes if checkpoint.base else 0)
        copies = [each.sampler.reader.bytes_used for each in (checkpoint, checkpoint.base)
                  if each is not None and each.sampler is not None]  # fmt: skip
        return self.limit - weights - sum(copies)

    def has_room(self, more: int = 0) -> bool:
        """Give up what is not in use until all fits and `more` bytes; False where what runs is too much.

        Nothing leaves for what would not fit in the end.
        """
        if self.bytes_used + more <= self.limit:
            return True
        fits = self._bytes_in_use() + more <= self.limit
        wanted = more if fits else 0
        if self.bytes_used + wanted > self.limit:
            for each in self.every:
                if each.sampler is not None:
                    each.sampler.prefix_cache.clear()
        while self.bytes_used + wanted > self.limit:
            if not self._drop_oldest(but=None):
                return False
        return fits

    def _bytes_in_use(self) -> int:
        """What would be left if everything were given up that is not in use."""
        may_go = self._may_go(but=None)
        stay = [each for each in self.every if each not in may_go]
        caches = [each.sampler.prefix_cache.bytes_used for each in stay if each.sampler]
        return sum(each.bytes_used for each in stay) - sum(caches)

    def _drop_oldest(self, *, but: ServedCheckpoint | None) -> bool:
        """Drop what was used longest ago; False where nothing may go."""
        idle = [each for each in self._may_go(but=but) if not self.is_base(each)]
        if not idle:
            return False
        self.drop(min(idle, key=lambda each: each.used_at))
        return True

    def _may_go(self, *, but: ServedCheckpoint | None) -> list[ServedCheckpoint]:
        """What is idle; a base only where all its adapters are."""
        stay = [each for each in self.every if each.is_busy or each is but or each.draining]
        stay += [each.base for each in stay if each.base is not None]
        return [each for each in self.checkpoints.values() if each not in stay]
