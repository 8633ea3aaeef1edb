"""Lines of seats: shared by samples of one prompt, next to each other, and nobody is ever unseated."""

import random

from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.seating import Row, Seating
from modelserving.lm.slots import OWN_BLOCK, own_place, own_room


def row_of(prompt: tuple[int, ...]) -> Row:
    request = SampleRequest(key="a", prompt=prompt, seeds=(0,), max_tokens=1)
    return Row(request=request, sample=0, drawn=1)


def test_two_samples_of_one_prompt_share_a_line() -> None:
    seating = Seating(seats=2)
    rows = [row_of((1, 2)), row_of((3,)), row_of((1, 2)), row_of((1, 2))]

    wants_prompt = [seating.take(row) for row in rows]

    assert wants_prompt == [True, True, False, True]
    assert [(row.line, row.seat) for row in rows] == [(0, 0), (1, 0), (0, 1), (2, 0)]


def test_the_last_line_moves_into_a_gap() -> None:
    seating = Seating(seats=2)
    rows = [row_of((prompt,)) for prompt in (1, 1, 2, 3, 3)]
    for row in rows:
        seating.take(row)

    assert seating.leave(rows[0]) is None
    assert seating.leave(rows[1]) == 2

    assert [row.line for row in rows[2:]] == [1, 0, 0]
    assert seating.end(0) == own_place(1, prompt=1, token=0, seats=2)


def test_any_coming_and_going_leaves_each_sample_its_own_seat() -> None:
    rng, seating, sitting = random.Random(5), Seating(seats=2), list[Row]()

    for _ in range(2000):
        if sitting and rng.random() < 0.5:
            seating.leave(sitting.pop(rng.randrange(len(sitting))))
        else:
            sitting.append(row_of((rng.randrange(4),)))
            seating.take(sitting[-1])
        assert all(seating.lines[row.line][row.seat] is row for row in sitting)
        assert sum(row is not None for line in seating.lines for row in line) == len(sitting)
        assert all(any(line) for line in seating.lines)


def test_own_tokens_of_two_seats_lie_apart_by_whole_blocks() -> None:
    places = [[own_place(seat, prompt=7, token=t, seats=2) for t in range(200)] for seat in (0, 1)]

    assert {b - a for a, b in zip(*places, strict=True)} == {OWN_BLOCK}
    assert len({*places[0], *places[1]}) == 400
    assert max(places[1]) < 7 + own_room(200, seats=2)
    assert [own_place(0, prompt=7, token=t, seats=1) for t in range(200)] == list(range(7, 207))
