"""Two texts at one pace: nothing that is let out says which of them came faster."""

from dataclasses import dataclass
from random import Random

import pytest

from comparisons.core.shared_pace import LEAST_WAIT, MOST_SPARE, MOST_WAIT, SharedPace

TICK = 0.1
A = "The cat sat on the mat and looked at the sea for a long and quiet while. " * 6
B = "Certainly! Sailing boats need a keel, since wind would push them sideways. " * 6


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes `text` in pieces of `size` characters, one every `pause` seconds from `first` on."""

    text: str
    pause: float
    first: float = 0.0
    size: int = 5
    fails_at: float = float("inf")

    def pieces(self) -> list[tuple[float, str]]:
        starts = range(0, len(self.text), self.size)
        timed = [
            (self.first + n * self.pause, self.text[at : at + self.size])
            for n, at in enumerate(starts)
        ]
        return [(at, piece) for at, piece in timed if at < self.fails_at]


@dataclass
class Run:
    """What was let out: at each tick the characters of each side, and when each side was settled."""

    ticks: list[tuple[float, int, int]]
    texts: dict[str, str]
    settled: dict[str, float]

    def until(self, length: int) -> list[tuple[float, int, int]]:
        """The ticks before either side came to `length`."""
        total, found = [0, 0], []
        for at, a, b in self.ticks:
            total = [total[0] + a, total[1] + b]
            if max(total) >= length:
                break
            found.append((round(at, 3), a, b))
        return found


def run(*, a: Writer, b: Writer, seed: int = 1, most: float = 200.0) -> Run:
    pace, now = SharedPace(("A", "B"), random=Random(seed)), 0.0
    waiting = {"A": a.pieces(), "B": b.pieces()}
    writers = {"A": a, "B": b}
    found = Run([], {"A": "", "B": ""}, {})
    while len(found.settled) < 2:
        assert now < most, "it never ends"
        for side, pieces in waiting.items():
            while pieces and pieces[0][0] <= now:
                at, piece = pieces.pop(0)
                pace.add(side, piece, now=at)
            if not pieces and not pace.is_settled(side):
                if writers[side].fails_at <= now:
                    pace.leave(side)
                elif writers[side].fails_at == float("inf"):
                    pace.end(side, whole=writers[side].text)
        texts = pace.tick(now)
        for side, text in texts.items():
            found.texts[side] += text
        found.ticks.append((now, len(texts.get("A", "")), len(texts.get("B", ""))))
        for side in "AB":
            if pace.is_settled(side):
                found.settled.setdefault(side, now)
        now += TICK
    return found


def test_equal_paces_are_hardly_held_up():
    found = run(a=Writer(text=A, pause=0.02), b=Writer(text=B, pause=0.02))

    written = len(B) / 5 * 0.02
    assert found.texts == {"A": A, "B": B}
    assert max(found.settled.values()) < written + 0.6


@pytest.mark.parametrize("slow", ["A", "B"])
def test_a_fast_side_is_shown_as_far_as_the_slow_one(slow):
    quick, late = {"pause": 0.01}, {"pause": 0.25, "first": 0.8}
    a = Writer(text=A, **(late if slow == "A" else quick))
    b = Writer(text=B, **(quick if slow == "A" else late))

    found = run(a=a, b=b)

    both = found.until(len(A))
    assert all(a == b for _, a, b in both)
    assert sum(a for _, a, _ in both) > len(A) - 30
    assert all(a == b == 0 for at, a, b in both if at < 0.8)
    assert found.texts == {"A": A, "B": B}


def test_which_side_was_slow_cannot_be_told_from_what_is_shown():
    quick, late = {"pause": 0.01}, {"pause": 0.25, "first": 0.8}

    one = run(a=Writer(text=A, **quick), b=Writer(text=B, **late))
    other = run(a=Writer(text=A, **late), b=Writer(text=B, **quick))

    assert one.until(len(A) - MOST_SPARE) == other.until(len(A) - MOST_SPARE)


def test_the_slow_side_does_not_end_where_its_pieces_end():
    words = "calm " * 60

    found = run(a=Writer(text=words, pause=0.4), b=Writer(text=B, pause=0.001))

    total, ends = 0, set()
    for _, count, _ in found.until(len(words) - MOST_SPARE):
        total += count
        ends.add(total % 5)
    assert ends == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(5))
def test_the_rest_of_a_longer_fast_text_goes_on_at_the_pace_that_was_seen(seed):
    short = A[:200]  # 20 characters a second: 10 s

    found = run(a=Writer(text=short, pause=0.25), b=Writer(text=B, pause=0.005), seed=seed)

    rest = len(B) - len(short)
    took = found.settled["B"] - found.settled["A"]
    assert took == pytest.approx(rest / 20, rel=0.25)
    alone = [b for at, _, b in found.ticks if at > found.settled["A"]]
    assert max(alone) <= 4  # 2 characters a tick, more or less: nothing is let out in one go


def test_nobody_waits_for_the_rest_longer_than_the_bound():
    one_word = run(a=Writer(text="Yes.", pause=0.01), b=Writer(text=B * 9, pause=0.001))
    long = run(a=Writer(text=A, pause=0.5), b=Writer(text=B * 9, pause=0.001))

    assert one_word.settled["B"] - one_word.settled["A"] < LEAST_WAIT + 1.5
    assert long.settled["B"] - long.settled["A"] < MOST_WAIT + 1.5
    assert long.texts["B"] == B * 9


def test_a_slow_longer_side_is_shown_as_it_comes_once_the_other_has_ended():
    found = run(a=Writer(text=A[:60], pause=0.005), b=Writer(text=B, pause=0.1))

    written = len(B) / 5 * 0.1
    assert found.settled["B"] == pytest.approx(written, abs=1.5)


def test_a_side_that_fails_lets_the_other_go_on():
    found = run(a=Writer(text=A, pause=0.1, fails_at=2.0), b=Writer(text=B, pause=0.1))
    silent = run(a=Writer(text=A, pause=0.1, fails_at=0.0), b=Writer(text=B, pause=0.1))

    assert found.texts["B"] == silent.texts["B"] == B
    assert 0 < len(found.texts["A"]) < 110
    assert A.startswith(found.texts["A"])
    assert silent.texts["A"] == ""


def both_writing() -> SharedPace:
    pace = SharedPace(("A", "B"), random=Random(1))
    pace.add("A", A[:100], now=0.0)
    pace.add("B", B[:200], now=0.0)
    pace.tick(0.1)
    return pace


def test_a_stop_leaves_both_as_far_as_they_were_shown():
    pace = both_writing()
    shown = {side: pace.shown(side) for side in "AB"}

    pace.stop()
    pace.end("B", whole=B)

    assert pace.tick(5.0) == {}
    assert {side: pace.shown(side) for side in "AB"} == shown
    assert len(shown["A"]) == len(shown["B"]) > 0


def test_a_side_that_is_written_anew_takes_the_other_back_with_it():
    pace = both_writing()

    assert pace.restart("A") == ("A", "B")
    assert pace.tick(0.2) == {}
    pace.add("A", "Another text, longer than a word.", now=0.3)
    texts = pace.tick(0.3)

    assert set(texts) == {"A", "B"}
    assert len(texts["A"]) == len(texts["B"])
    assert B.startswith(texts["B"])


def test_a_side_that_is_written_anew_before_anything_was_shown_says_nothing():
    pace = SharedPace(("A", "B"), random=Random(1))
    pace.add("A", A, now=0.0)

    assert pace.tick(0.1) == {}
    assert pace.restart("A") == ()


def test_a_side_that_is_written_anew_leaves_one_alone_that_is_whole():
    pace = SharedPace(("A", "B"), random=Random(1))
    pace.add("A", "Yes.", now=0.0)
    pace.end("A", whole="Yes.")
    pace.add("B", B, now=0.0)
    for tick in range(1, 10):
        pace.tick(tick / 10)

    assert pace.is_settled("A")
    assert pace.restart("B") == ("B",)
    assert pace.shown("A") == "Yes."


def test_no_character_is_shown_in_half():
    accents, flags = "e\u0301" * 150, "🇩🇪" * 100

    found = run(
        a=Writer(text=accents, pause=0.03, size=3), b=Writer(text=flags, pause=0.02, size=3)
    )

    assert found.texts == {"A": accents, "B": flags}
    assert all(a % 2 == 0 and b % 2 == 0 for _, a, b in found.ticks)
