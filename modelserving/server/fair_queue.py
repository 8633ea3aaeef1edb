"""Waiting requests, handed out so that no user can keep the others waiting.

Does not know models, tensors or HTTP.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue needs of a request."""

    key: str
    user: str


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
        self._by_user: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        """Requests waiting."""
        return sum(len(line) for line in self._by_user.values())

    def __iter__(self) -> Iterator[T]:
        """All of them, user by user."""
        return (item for line in self._by_user.values() for item in line)

    def put(self, item: T) -> None:
        """Add a request at the end of its user's line, or refuse."""
        if len(self) >= self._limit:
            raise QueueFull(of_user=False)
        line = self._by_user.get(item.user, deque())
        if item.user and len(line) >= self._limit_per_user:
            raise QueueFull(of_user=True)
        line.append(item)
        self._by_user[item.user] = line

    def take(self, *, running: Mapping[str, int], most: int) -> T | None:
        """Hand out the next request; `running` counts each user's samples in the batch.

        A named user with `most` samples running waits, so that a newcomer finds room at once.
        """
        users = [name for name in self._by_user if not name or running.get(name, 0) < most]
        if not users:
            return None
        user = min(users, key=lambda name: running.get(name, 0))  # the first among equals
        line = self._by_user.pop(user)
        item = line.popleft()
        if line:
            self._by_user[user] = line  # now last among equals
        return item

    def remove(self, key: str) -> T | None:
        """Take a request out before its turn."""
        for user, line in self._by_user.items():
            for item in line:
                if item.key == key:
                    line.remove(item)
                    if not line:
                        del self._by_user[user]
                    return item
        return None
