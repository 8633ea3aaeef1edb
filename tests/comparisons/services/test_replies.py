"""Replies written by people: one person holds a prompt at a time, and somebody else compares blind."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from comparisons.models import Comparison, Flag, LapsedReply, Response, Showing, WantedReply
from comparisons.queries.replies import reply_rows
from comparisons.services import judging, opinions, replies, undoing, withdrawal
from comparisons.services.onboarding import OnboardingRefused
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def waiting(**values):
    """A campaign with one prompt that waits, and the turn it belongs to."""
    campaign = live_campaign(human_reply_percent=100, **values)
    turn = answered(said(begun(campaign)), a="model one", b="model two")
    chosen(turn, side="A")
    turn.refresh_from_db()
    return campaign, turn


def overdue(wanted):
    WantedReply.objects.filter(pk=wanted.pk).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def test_the_share_of_the_campaign_decides():
    answered_turn = answered(said(begun(live_campaign(human_reply_percent=0))))
    chosen(answered_turn)
    assert not WantedReply.objects.exists()

    _, turn = waiting(names=("x", "y"))
    assert WantedReply.objects.get().turn == turn


def test_a_prompt_goes_to_one_person_and_never_to_the_one_who_asked():
    campaign, turn = waiting()
    first, second = agreed_person(campaign), agreed_person(campaign)

    taken = replies.take(first)

    assert replies.take(turn.conversation.crowdworker) is None
    assert replies.take(second) is None
    assert replies.take(first) == taken


def test_a_reply_is_a_response_of_its_writer_and_waits_for_a_blind_comparison():
    campaign, turn = waiting()
    writer, judge = agreed_person(campaign), agreed_person(campaign)

    response = replies.write(replies.take(writer), writer, text=" From a person. ")

    showing = Showing.objects.get(purpose="second_opinion")
    assert (response.author, response.deployment, response.text) == (writer, None, "From a person.")
    assert (response.turn, response.finish_reason) == (turn, Response.FinishReason.WRITTEN)
    assert {showing.side_a, showing.side_b} == {response, turn.continued_by.picked}
    assert opinions.take(writer) is None
    assert opinions.take(judge) == showing
    turn.refresh_from_db()
    assert turn.continued_by.picked != response


def test_a_second_click_stores_one_reply():
    campaign, _ = waiting()
    writer = agreed_person(campaign)
    wanted = replies.take(writer)

    first = replies.write(wanted, writer, text="Mine.")

    assert replies.write(wanted, writer, text="Mine, again.") == first
    assert Showing.objects.filter(purpose="second_opinion").count() == 1


def test_an_overdue_prompt_goes_to_somebody_else_and_the_late_reply_is_refused():
    campaign, _ = waiting()
    slow, quick = agreed_person(campaign), agreed_person(campaign)
    wanted = replies.take(slow)
    overdue(wanted)

    assert replies.release_overdue() == 1
    assert replies.take(quick) == wanted

    with pytest.raises(replies.ReplyLeaseOver):
        replies.write(wanted, slow, text="Late.")
    assert not Response.objects.filter(author=slow).exists()


def test_a_prompt_taken_up_again_at_that_moment_does_not_lapse(monkeypatch):
    campaign, _ = waiting()
    person = agreed_person(campaign)
    wanted, lapse = replies.take(person), replies._lapse
    overdue(wanted)

    def lapse_late(each):
        WantedReply.objects.filter(pk=each.pk).update(lease_until=timezone.now() + replies.LEASE)
        return lapse(each)

    monkeypatch.setattr(replies, "_lapse", lapse_late)

    assert replies.release_overdue() == 0
    assert replies.held(person) == wanted
    assert not LapsedReply.objects.exists()


def test_a_prompt_given_back_is_not_offered_again():
    campaign, _ = waiting()
    person, other = agreed_person(campaign), agreed_person(campaign)
    wanted = replies.take(person)

    replies.pass_on(wanted, person, reason="know_too_little")

    assert replies.take(person) is None
    assert replies.take(other) == wanted


def test_one_person_holds_one_prompt():
    campaign, _ = waiting()
    chosen(answered(said(begun(campaign)), a="model three"))
    person = agreed_person(campaign)
    first, second = WantedReply.objects.order_by("pk")
    assert replies.take(person) in {first, second}
    free = WantedReply.objects.filter(crowdworker__isnull=True)

    with pytest.raises(IntegrityError), transaction.atomic():
        free.update(crowdworker=person)


@pytest.mark.parametrize("text", ["", "   ", "model one", "x" * 20_001])
def test_texts_that_are_no_reply_are_refused(text):
    campaign, _ = waiting()
    writer = agreed_person(campaign)

    with pytest.raises(replies.ReplyRefused):
        replies.write(replies.take(writer), writer, text=text)


def test_a_withdrawn_writers_reply_leaves_the_queue_and_the_releases():
    campaign, _ = waiting()
    writer, judge, other = (agreed_person(campaign) for _ in range(3))
    response = replies.write(replies.take(writer), writer, text="Mine.")
    showing = opinions.take(judge)
    texts = {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}
    comparison = judging.record_choice(
        showing, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts
    )

    withdrawal.withdraw(writer)

    response.refresh_from_db()
    comparison.refresh_from_db()
    assert response.text == ""
    assert comparison.set_aside_reason == "withdrawn"
    assert opinions.take(other) is None


def test_people_are_set_against_the_deployment_that_answered():
    campaign, turn = waiting()
    writer, judge = agreed_person(campaign), agreed_person(campaign)
    response = replies.write(replies.take(writer), writer, text="Mine.")
    showing = opinions.take(judge)
    side = "A" if showing.side_a == response else "B"
    texts = {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}
    judging.record_choice(
        showing, side=side, strength=3, choice_key=uuid.uuid4(), text_sha256=texts
    )

    (row,) = reply_rows()

    assert row.deployment == turn.continued_by.picked.deployment.name
    assert (row.estimate.value, row.estimate.n) == (1.0, 1)
    assert row.value_text == ""  # one observation is no share
    assert Comparison.objects.count() == 2


def test_a_flagged_prompt_is_not_handed_out_and_nothing_is_kept_of_one_who_withdrew():
    campaign, turn = waiting()
    writer = agreed_person(campaign)
    flag = Flag.objects.create(
        turn=turn, crowdworker=turn.conversation.crowdworker, kind="personal_data"
    )
    assert replies.take(writer) is None

    Flag.objects.filter(pk=flag.pk).update(resolved_at=timezone.now())
    wanted = replies.take(writer)
    withdrawal.withdraw(writer)

    with pytest.raises(OnboardingRefused):
        replies.write(wanted, writer, text="My private words.")
    assert not Response.objects.filter(author=writer).exists()


def test_a_prompt_whose_choice_was_undone_does_not_stand_in_the_way_of_the_next():
    campaign, turn = waiting()
    person = agreed_person(campaign)
    undone = replies.take(person)
    undoing.undo_choice(turn.continued_by)
    chosen(answered(said(begun(campaign)), a="model three"))

    following = replies.take(person)

    assert following is not None
    assert following.turn != undone.turn
    undone.refresh_from_db()
    assert undone.crowdworker is None


def test_a_reply_to_a_choice_that_was_undone_is_refused_with_the_right_reason():
    campaign, turn = waiting()
    writer = agreed_person(campaign)
    wanted = replies.take(writer)
    undoing.undo_choice(turn.continued_by)

    with pytest.raises(replies.ReplyRefused, match="needs no reply any more"):
        replies.write(wanted, writer, text="Mine.")
    assert not Response.objects.filter(author=writer).exists()
