"""A hung step or a lost engine ends the process; an idle engine or a slow but moving one does not."""

from dataclasses import dataclass

import pytest

from modelserving.server.watchdog import EXIT_CODE, Watchdog


@dataclass
class Engine:
    working: bool
    last_turn: float
    lost: bool = False


@pytest.mark.parametrize(
    ("working", "last_turn", "expected"),
    [(True, 0.0, [EXIT_CODE]), (True, 95.0, []), (False, 0.0, [])],
)
def test_only_a_hung_step_ends_the_process(
    working: bool, last_turn: float, expected: list[int]
) -> None:
    ended: list[int] = []
    engine = Engine(working=working, last_turn=last_turn)

    Watchdog(engine, limit=60.0, clock=lambda: 100.0, end=ended.append).look()

    assert ended == expected


def test_a_lost_engine_ends_the_process_although_nothing_hangs() -> None:
    ended: list[int] = []
    engine = Engine(working=False, last_turn=0.0, lost=True)

    Watchdog(engine, limit=60.0, clock=lambda: 100.0, end=ended.append).look()

    assert ended == [EXIT_CODE]
