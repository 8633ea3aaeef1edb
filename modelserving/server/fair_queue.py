"""Waiting requests, or parts of them, handed out so that no user can keep the others waiting.

Does not know models, tensors or HTTP.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue needs of what waits: a request, or a part of one."""

    @property
    def key(self) -> str:
        """By which it is removed."""
        ...

    @property
    def user(self) -> str:
        """Whose it is; nobody's, if empty."""
        ...

    @property
    def call(self) -> str:
        """The request it came with: all of one count once, and are refused together."""
        ...


T = TypeVar("T", bound=Waiting)


class QueueFull(Exception):
    """No room: try again later. `of_user` says that only this user's share is used up."""

    def __init__(self, *, of_user: bool) -> None:
        """Say whose room is used up."""
        super().__init__(
            "the user's share of the queue is used up" if of_user else "the queue is full"
        )
        self.of_user = of_user


class FairQueue(Generic[T]):
    """First the user with the fewest samples running, among equals the one served longest ago."""

    def __init__(self, *, limit: int, limit_per_user: int) -> None:
        """Bound the queue as a whole and for each named user."""
        self._limit = limit
        self._limit_per_user = limit_per_user
        # each user's line by number, so that what a client leaves behind goes without a walk along all that wait
        self._by_user: OrderedDict[str, OrderedDict[int, T]] = OrderedDict()
        self._numbers: dict[str, list[int]] = {}  # of each key, in order
        self._next_number = 0
        self._calls: Counter[str] = Counter()  # what waits of each
        self._calls_by_user: Counter[str] = Counter()

    def __len__(self) -> int:
        """Calls waiting; may be asked by any thread."""
        return len(self._calls)

    def put(self, item: T) -> None:
        """Add to the end of its user's line, or refuse; what came with something that waits is taken."""
        if item.call not in self._calls:
            if len(self) >= self._limit:
                raise QueueFull(of_user=False)
            if item.user and self._calls_by_user[item.user] >= self._limit_per_user:
                raise QueueFull(of_user=True)
            self._calls_by_user[item.user] += 1
        self._calls[item.call] += 1
        number, self._next_number = self._next_number, self._next_number + 1
        self._by_user.setdefault(item.user, OrderedDict())[number] = item
        self._numbers.setdefault(item.key, []).append(number)

    def take(
        self, *, running: Mapping[str, int], most: int, may_start: Callable[[T], bool]
    ) -> T | None:
        """Hand out the next request; `running` counts each user's samples in the batch.

        A named user with `most` samples running waits, so that a newcomer finds room at once. Where the next one may
        not start, nobody overtakes it.
        """
        users = [name for name in self._by_user if not name or running.get(name, 0) < most]
        if not users:
            return None
        user = min(users, key=lambda name: running.get(name, 0))  # the first among equals
        if not may_start(next(iter(self._by_user[user].values()))):
            return None
        line = self._by_user.pop(user)
        number, item = line.popitem(last=False)
        own = self._numbers[item.key]
        own.remove(number)  # its first, as a key's lines keep their order
        if not own:
            del self._numbers[item.key]
        if line:
            self._by_user[user] = line  # now last among equals
        self._left(item)
        return item

    def remove(self, key: str, *, user: str) -> list[T]:
        """Take out before its turn whatever has this key, which is this user's."""
        line = self._by_user.get(user, OrderedDict())
        found = [line.pop(number) for number in self._numbers.pop(key, ())]
        if found and not line:
            del self._by_user[user]
        for item in found:
            self._left(item)
        return found

    def _left(self, item: T) -> None:
        self._calls[item.call] -= 1
        if self._calls[item.call]:
            return
        del self._calls[item.call]
        self._calls_by_user[item.user] -= 1
        if not self._calls_by_user[item.user]:
            del self._calls_by_user[item.user]
