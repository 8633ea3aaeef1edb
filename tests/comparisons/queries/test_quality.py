"""Quality: agreement over second opinions, habits that chance does not explain."""

import pytest

from comparisons.models import Comparison, Flag, Showing
from comparisons.queries.quality import (
    agreement_rows,
    median_seconds,
    open_flags,
    people_looked_at,
    signals,
)
from comparisons.queries.seen_choices import last_choices
from tests.comparisons.making import (
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db


def second_opinion(first: Comparison, *, agrees: bool, strength: int = 3) -> Comparison:
    person = make_crowdworker()
    showing = Showing.objects.create(
        turn=first.turn, crowdworker=person, purpose="second_opinion",
        side_a=first.other, side_b=first.picked,
    )  # fmt: skip
    picked, other = (first.picked, first.other) if agrees else (first.other, first.picked)
    return Comparison.objects.create(
        showing=showing, turn=first.turn, crowdworker=person, picked=picked, other=other,
        strength=strength, question=first.question, objective=first.objective, side="B",
    )  # fmt: skip


def test_agreement_counts_second_opinions_and_says_when_it_is_undefined():
    campaign = make_campaign()
    for i in range(4):
        first = make_comparison(make_conversation(campaign=campaign))
        second_opinion(first, agrees=i > 0)
    make_comparison(make_conversation(campaign=campaign))

    rows = {(row.objective, row.label): row.estimate for row in agreement_rows()}

    raw = rows["helpful", "same response picked"]
    assert (raw.value, raw.n) == (0.75, 4)
    assert raw.low < 0.75 < raw.high
    assert rows["helpful", "alpha, ordinal, eight points"].n == 4
    assert rows["harmless", "same response picked"].reason == "nothing was judged twice yet"


def test_one_sided_people_are_noticed_and_even_ones_are_not():
    campaign = make_campaign()
    one_sided, even, few = (make_crowdworker() for _ in range(3))
    for i in range(24):
        make_comparison(make_conversation(campaign=campaign, crowdworker=one_sided), side="A")
        side = "A" if i % 2 else "B"
        make_comparison(make_conversation(campaign=campaign, crowdworker=even), side=side)
    for _ in range(10):
        make_comparison(make_conversation(campaign=campaign, crowdworker=few), side="B")

    found = signals()

    assert [(s.crowdworker, s.kind, s.n, s.share) for s in found] == [(one_sided, "side", 24, 1.0)]
    assert found[0].probability < 0.001
    assert people_looked_at() == 2


def test_choices_faster_than_reading_are_noticed():
    person = make_crowdworker()
    campaign = make_campaign()
    for i in range(20):
        make_comparison(
            make_conversation(campaign=campaign, crowdworker=person), picked="x" * 600,
            other="y" * 600, active_milliseconds=900, side="A" if i % 2 else "B",
        )  # fmt: skip

    assert [(s.kind, s.share) for s in signals()] == [("fast", 1.0)]
    assert median_seconds(person) == 0.9
    assert len(last_choices(person, count=5)) == 5


def test_open_flags_are_counted_by_kind():
    comparison = make_comparison(make_conversation())
    Flag.objects.create(
        turn=comparison.turn, crowdworker=comparison.crowdworker, kind=Flag.Kind.PERSONAL_DATA
    )

    flags = open_flags()

    assert [(f.kind, f.count) for f in flags] == [("personal_data", 1)]
    assert flags[0].oldest_hours < 1
