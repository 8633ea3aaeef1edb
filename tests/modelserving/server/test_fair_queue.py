"""Who is served next."""

import time
from dataclasses import dataclass

import pytest

from modelserving.server.fair_queue import FairQueue, QueueFull


@dataclass
class Request:
    key: str
    user: str
    call: str


def request(key: str, *, call: str = "") -> Request:
    return Request(key=key, user=key[:1].strip(), call=call or key)


def queue_of(*requests: str, limit: int = 10, limit_per_user: int = 5) -> FairQueue[Request]:
    """`"a1"` is request a1 of user a."""
    queue: FairQueue[Request] = FairQueue(limit=limit, limit_per_user=limit_per_user)
    for key in requests:
        queue.put(request(key))
    return queue


def anything(_: Request) -> bool:
    return True


def taken(queue: FairQueue[Request], *, running: dict[str, int], most: int = 99) -> list[str]:
    found = []
    while (item := queue.take(running=running, most=most, may_start=anything)) is not None:
        found.append(item.key)
    return found


def test_users_take_turns_and_each_keeps_its_order() -> None:
    assert taken(queue_of("a1", "a2", "a3", "b1", "c1", "b2"), running={}) == [
        "a1", "b1", "c1", "a2", "b2", "a3",
    ]  # fmt: skip


def test_who_has_fewest_samples_running_comes_first() -> None:
    queue = queue_of("a1", "b1", "c1")

    assert taken(queue, running={"a": 16, "b": 2, "c": 4}) == ["b1", "c1", "a1"]


def test_a_named_user_with_enough_running_waits_an_unnamed_one_does_not() -> None:
    queue = queue_of("a1", " 1", "b1")

    assert taken(queue, running={"a": 24, "": 24}, most=24) == ["b1", " 1"]
    assert len(queue) == 1


def test_nobody_overtakes_what_may_not_start() -> None:
    queue = queue_of("a1", "a2", "b1")

    assert queue.take(running={}, most=9, may_start=lambda each: each.key != "a1") is None

    assert taken(queue, running={}) == ["a1", "b1", "a2"]


def test_the_queue_and_each_named_users_part_of_it_are_bounded() -> None:
    queue = queue_of("a1", "a2", limit=4, limit_per_user=2)

    with pytest.raises(QueueFull) as own:
        queue.put(request("a3"))
    assert own.value.of_user
    queue.put(request(" x"))
    queue.put(request(" y"))
    with pytest.raises(QueueFull) as whole:
        queue.put(request("b1"))
    assert not whole.value.of_user


def test_a_removed_request_is_not_handed_out() -> None:
    queue = queue_of("a1", "a2", "b1")

    assert [each.key for each in queue.remove("a1", user="a")] == ["a1"]
    assert queue.remove("none", user="n") == []
    assert taken(queue, running={}) == ["a2", "b1"]
    assert len(queue) == 0


def test_what_comes_with_one_call_counts_once_and_is_never_too_much_by_itself() -> None:
    queue = queue_of(limit=2, limit_per_user=1)
    for number in range(9):
        queue.put(request(f"a{number}", call="first"))

    with pytest.raises(QueueFull) as own:
        queue.put(request("a9", call="second"))
    queue.put(request("b1"))
    with pytest.raises(QueueFull):
        queue.put(request("c1"))

    assert own.value.of_user
    assert len(queue) == 2
    assert len(taken(queue, running={})) == 10
    assert len(queue) == 0


def test_what_clients_leave_behind_goes_without_a_walk_along_all_that_wait() -> None:
    count = 40_000
    queue = queue_of(limit=count)
    for number in range(count):
        queue.put(request(f"a{number}", call="first"))

    started = time.monotonic()
    for number in range(count):
        queue.remove(f"a{number}", user="a")

    assert time.monotonic() - started < 10  # a walk for each took minutes
    assert len(queue) == 0
