"""What staff do about a person or a flag: what is taken back, and what stays out whatever is taken back."""

import uuid

import pytest

from comparisons.models import Comparison, Flag
from comparisons.queries.quality import standing_choices
from comparisons.queries.releases import ReleaseFilters, release_counts, with_reason
from comparisons.services import judging, opinions, quality, replies, withdrawal
from comparisons.services.releasing import cut_release
from tests.comparisons.making import make_account, make_comparison, make_conversation
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def kept() -> set[str]:
    """Messages of the comparisons that a release would hold."""
    rows = Comparison.objects.filter(set_aside_at__isnull=True)
    found = set(rows.values_list("turn__message", flat=True))
    assert release_counts(ReleaseFilters()).kept == len(found)
    return found


@pytest.mark.parametrize("is_flag_first", [True, False])
def test_what_a_flag_left_out_stays_out_when_the_persons_work_is_taken_back(is_flag_first):
    staff = make_account("administrator")
    flagged = make_comparison(make_conversation(), message="my number is")
    person = flagged.crowdworker
    make_comparison(make_conversation(crowdworker=person), message="fine")
    flag = Flag.objects.create(turn=flagged.turn, crowdworker=person, kind="personal_data")
    if is_flag_first:
        quality.set_aside_flagged(flag, reason="a number", actor=staff)
        assert quality.set_aside(person, reason="too fast", actor=staff) == 1
    else:
        quality.set_aside(person, reason="too fast", actor=staff)
        assert quality.set_aside_flagged(flag, reason="a number", actor=staff) == 1
    before = kept()

    assert quality.take_back(person, actor=staff) == 1

    assert kept() - before == {"fine"}
    flagged.refresh_from_db()
    assert (flagged.set_aside_cause, flagged.set_aside_reason) == ("flag", "a number")


def test_what_is_chosen_after_a_heeded_flag_in_the_same_conversation_stays_out_too():
    conversation = make_conversation()
    make_comparison(conversation, message="before it")
    flagged = make_comparison(conversation, message="my number is")
    flag = Flag.objects.create(
        turn=flagged.turn, crowdworker=flagged.crowdworker, kind="personal_data"
    )
    quality.set_aside_flagged(flag, reason="a number", actor=make_account("administrator"))

    make_comparison(conversation, message="quotes the number")
    assert {each.turn.message for each in standing_choices()} == {"before it"}

    rows = with_reason(Comparison.objects.all(), ReleaseFilters()).filter(left_out="")
    assert set(rows.values_list("turn__message", flat=True)) == {"before it"}


def test_a_flag_marks_releases_that_hold_what_was_set_aside_with_the_person():
    staff = make_account("administrator")
    flagged = make_comparison(make_conversation(), message="my number is")
    release = cut_release("r-1", test_percent=0)
    quality.set_aside(flagged.crowdworker, reason="too fast", actor=staff)
    flag = Flag.objects.create(turn=flagged.turn, crowdworker=flagged.crowdworker, kind="other")

    quality.set_aside_flagged(flag, reason="a number", actor=staff)

    release.refresh_from_db()
    assert release.stale_at is not None


def test_a_withdrawn_writers_reply_never_comes_back():
    staff = make_account("administrator")
    campaign = live_campaign(human_reply_percent=100)
    chosen(answered(said(begun(campaign), "kept"), a="Of a model."))
    writer, judge = agreed_person(campaign), agreed_person(campaign)
    replies.write(replies.take(writer), writer, text="Written by a person.")
    item = opinions.take(judge)
    sides = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    given = judging.record_choice(
        item, side="A", strength=3, choice_key=uuid.uuid4(), text_sha256=sides
    )
    withdrawal.withdraw(writer)

    assert quality.take_back(judge, actor=staff) == 0

    given.refresh_from_db()
    assert given.set_aside_cause == "withdrawn"
    Comparison.objects.filter(pk=given.pk).update(set_aside_at=None)  # as earlier code left some
    counts = release_counts(ReleaseFilters())
    assert {reason: count for reason, _words, count in counts.left_out} == {"withdrawn": 1}
