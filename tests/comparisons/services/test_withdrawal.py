"""Withdrawing: every text of the person is gone, every row, hash and link still there."""

import uuid

import pytest

from comparisons.models import (
    Comparison,
    Conversation,
    Crowdworker,
    DatasetRelease,
    Flag,
    Response,
    Showing,
    Turn,
)
from comparisons.models.release import ReleaseComparison
from comparisons.queries.own_data import own_data
from comparisons.services import (
    assignment_ends,
    audit,
    chat,
    judging,
    onboarding,
    opinions,
    streaming,
    turn_leases,
    withdrawal,
)
from comparisons.services.flagging import flag_turn
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said
from tests.comparisons.turns import completion, streamed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

SECRET = "canary: my grandmother's address"


def test_withdrawing_blanks_texts_in_place_and_marks_releases():
    campaign = live_campaign(objective="harmless")
    person, other = agreed_person(campaign), agreed_person(campaign)
    conversation = begun(campaign, person)
    turn = answered(said(conversation, SECRET), a=SECRET, b=SECRET + "!")
    comparison = chosen(turn, reason_text=SECRET)
    kept = chosen(answered(said(begun(campaign, other), "Somebody else's")))
    turn.responses.update(failure=SECRET)  # as an endpoint may have quoted it
    release = DatasetRelease.objects.create(name="r1", state="frozen")
    ReleaseComparison.objects.create(release=release, comparison=comparison, split="train")

    withdrawal.withdraw(person)

    rows = [*Turn.objects.values(), *Response.objects.values(), *Comparison.objects.values()]
    rows += [*Conversation.objects.values()]
    assert "canary" not in str(rows)
    assert turn.message_sha256 == Turn.objects.get(pk=turn.pk).message_sha256 != ""
    comparison.refresh_from_db()
    kept.refresh_from_db()
    release.refresh_from_db()
    person.refresh_from_db()
    assert comparison.set_aside_reason == "withdrawn"
    assert (kept.set_aside_at, kept.turn.message) == (None, "Somebody else's")
    assert release.stale_at is not None
    assert (person.standing, person.external_id_hash) == ("withdrawn", "")


def test_withdrawing_gives_open_work_back_and_hands_finished_work_in():
    campaign, other = live_campaign(), live_campaign()
    person = agreed_person(campaign)
    onboarding.give_consent(person, other.instruction_versions.get())
    finished = begun(campaign, person)
    chosen(answered(said(finished)))
    chat.end_conversation(finished)
    begun(campaign, person)
    begun(other, person)

    withdrawal.withdraw(person)

    assert list(person.assignments.order_by("pk").values_list("state", flat=True)) == [
        "submitted", "returned",
    ]  # fmt: skip
    states = person.conversations.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["finished", "abandoned", "abandoned"]


def test_nothing_more_is_kept_of_a_person_who_withdrew():
    campaign = live_campaign(objective="harmless", second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    person = agreed_person(campaign)
    page = begun(campaign, person)  # as another tab holds it, from before
    item = opinions.take(person)
    before = person.assignments.get()
    withdrawal.withdraw(Crowdworker.objects.get(pk=person.pk))
    texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    item.crowdworker = person = Crowdworker.objects.get(pk=person.pk)
    late = [
        lambda: onboarding.open_assignment(person, campaign),
        lambda: chat.start_conversation(before),
        lambda: chat.set_intent(page, SECRET),
        lambda: chat.keep_comment(Conversation.objects.get(pk=page.pk), SECRET),
        lambda: judging.record_choice(
            item, side="A", strength=3, text_sha256=texts, choice_key=uuid.uuid4(),
            reason_text=SECRET,
        ),
    ]  # fmt: skip

    for act in late:
        with pytest.raises((onboarding.NoWork, judging.LeaseOver)):
            act()

    rows = [*Conversation.objects.values(), *Comparison.objects.values()]
    assert "canary" not in str(rows)
    assert person.assignments.count() == person.conversations.count() == 1


def test_work_is_not_taken_on_with_a_standing_from_before_the_withdrawal():
    campaign = live_campaign()
    person = agreed_person(campaign)
    withdrawal.withdraw(Crowdworker.objects.get(pk=person.pk))

    with pytest.raises(onboarding.NoWork, match="withdrawn"):
        onboarding.open_assignment(person, campaign)

    assert not person.assignments.exists()


def test_the_streams_of_the_persons_turns_are_deleted(
    settings, redis_url, django_capture_on_commit_callbacks
):
    turn = said(begun(live_campaign()), SECRET)
    streaming.TurnStream(turn.public_id, attempt=1).begin()

    with django_capture_on_commit_callbacks(execute=True):
        withdrawal.withdraw(turn.conversation.crowdworker)

    assert streamed(turn, redis_url) == []


def test_withdrawing_does_not_need_the_broker(settings, django_capture_on_commit_callbacks):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    turn = said(begun(live_campaign()), SECRET)

    with django_capture_on_commit_callbacks(execute=True):
        withdrawal.withdraw(turn.conversation.crowdworker)

    turn.refresh_from_db()
    assert turn.message == ""


def test_the_persons_row_is_locked_before_anything_is_blanked(django_assert_max_num_queries):
    person = begun(live_campaign()).crowdworker

    with django_assert_max_num_queries(100) as asked:
        withdrawal.withdraw(person)

    first = next(each["sql"] for each in asked if each["sql"].startswith(("SELECT", "UPDATE")))
    assert first.startswith("SELECT")
    assert 'FROM "comparisons_crowdworker"' in first


def test_own_data_has_the_persons_texts_and_names_no_model():
    campaign = live_campaign()
    conversation = begun(campaign)
    chosen(answered(said(conversation, SECRET)), side="B")

    data = own_data(conversation.crowdworker)

    (turn,) = data["conversations"][0]["turns"]
    assert (turn["message"], turn["state"]) == (SECRET, "chosen")
    assert turn["responses"] == {"A": "First.", "B": "Second."}
    assert (turn["picked"], turn["strength"]) == ("B", 3)
    assert "canary-one" not in str(data)
    assert "canary-two" not in str(data)


def test_the_audit_is_asked_last_for_everything_else_waits_for_it(monkeypatch):
    conversation = begun(live_campaign())
    said(conversation, "my words")
    seen = []
    real = audit.record

    def record(**values):
        seen.append(Turn.objects.filter(message="my words").exists())
        return real(**values)

    monkeypatch.setattr(audit, "record", record)

    withdrawal.withdraw(conversation.crowdworker)

    assert seen == [False, False]  # the work given back, and the withdrawal


def test_a_deleted_conversation_gets_no_text_back_from_a_response_on_its_way():
    person = agreed_person(campaign := live_campaign())
    conversation = begun(campaign, person)
    turn = said(conversation, SECRET)
    lease = turn_leases.claim(turn.pk)
    assignment_ends.give_back(person.assignments.get())
    conversation.refresh_from_db()

    withdrawal.delete_conversation(conversation)

    for side in "AB":
        turn_leases.store(lease, side=side, completion=completion(f"To {SECRET}: yes."))
    assert set(Response.objects.values_list("text", flat=True)) == {""}
    assert not turn_leases.forsaken_turns().exists()
    turn.refresh_from_db()
    assert (turn.message, turn.state) == ("", Turn.State.SKIPPED)


@pytest.mark.parametrize("is_whole", [True, False], ids=["withdrawn", "deleted"])
def test_what_others_noted_about_an_erased_conversation_goes_too(is_whole):
    campaign = live_campaign(second_opinion_percent=100)
    person, judge = agreed_person(campaign), agreed_person(campaign)
    conversation = begun(campaign, person)
    chosen(answered(said(conversation)))
    item = opinions.take(judge)
    texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    judging.record_choice(
        item, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts, reason_text=SECRET
    )
    flag_turn(item.turn, judge, kind="personal_data", note=SECRET)
    chat.end_conversation(conversation)

    if is_whole:
        withdrawal.withdraw(person)
    else:
        withdrawal.delete_conversation(conversation)

    assert [*Comparison.objects.exclude(reason_text="")] == []
    assert [*Flag.objects.values_list("note", flat=True)] == [""]


@pytest.mark.parametrize("is_whole", [True, False], ids=["withdrawn", "deleted"])
def test_nobody_gives_an_opinion_on_texts_that_are_gone(is_whole):
    campaign = live_campaign(second_opinion_percent=100)
    person, judge, third = (agreed_person(campaign) for _ in range(3))
    conversation = begun(campaign, person)
    chosen(answered(said(conversation, "First")))
    judged = opinions.take(third)
    texts = {"A": judged.side_a.text_sha256, "B": judged.side_b.text_sha256}
    kept = judging.record_choice(
        judged, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts
    )
    chosen(answered(said(conversation, "Second"), a="One", b="Two"))
    item = opinions.take(judge)
    texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    chat.end_conversation(conversation)

    if is_whole:
        withdrawal.withdraw(person)
    else:
        withdrawal.delete_conversation(conversation)
    with pytest.raises(judging.LeaseOver):
        judging.record_choice(
            item, side="B", strength=2, choice_key=uuid.uuid4(), text_sha256=texts
        )

    standing = Showing.objects.filter(purpose="second_opinion", replaced_at__isnull=True)
    assert [*standing] == [kept.showing]
    assert not judge.comparisons.exists()
