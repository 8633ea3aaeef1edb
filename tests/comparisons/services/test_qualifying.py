"""Practice comparisons: they come before work, count once, and end in a result that stays."""

import pytest
from django.db import IntegrityError, transaction

from comparisons.models import (
    Assignment,
    AuditEntry,
    QualificationAnswer,
    QualificationAttempt,
    QualificationResult,
    Showing,
)
from comparisons.services import (
    chat,
    onboarding,
    opinions,
    qualification_publishing,
    qualifying,
    replies,
)
from comparisons.services.qualification_publishing import QualificationRefused
from tests.comparisons.making import make_account, make_crowdworker
from tests.comparisons.practising import answer, item, practise, with_practice
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_work_waits_for_the_practice_and_opens_with_it():
    campaign = live_campaign()
    with_practice(campaign, items=3, pass_mark=2)
    person = agreed_person(campaign)
    assignment = onboarding.open_assignment(person, campaign)
    assert assignment.state == Assignment.State.TRAINING
    with pytest.raises(chat.WentOn):
        chat.start_conversation(assignment)

    practise(campaign, person, right=2)

    assignment.refresh_from_db()
    assert assignment.state == Assignment.State.WORK
    assert said(chat.start_conversation(assignment)).index == 0


def test_what_was_begun_before_the_practice_was_asked_for_is_finished_without_it():
    campaign = live_campaign(conversations_per_assignment=1)
    conversation = begun(campaign)
    with_practice(campaign)

    chosen(answered(said(conversation)))
    chat.end_conversation(conversation)

    with pytest.raises(onboarding.PracticeNeeded):
        onboarding.check_may_work(conversation.crowdworker, campaign)
    following = onboarding.open_assignment(conversation.crowdworker, campaign)
    assert following.state == Assignment.State.TRAINING


def test_nobody_without_such_work_writes_without_the_practice():
    campaign = live_campaign()
    conversation = begun(campaign)
    conversation.assignment = None
    conversation.save(update_fields=["assignment"])
    Assignment.objects.update(state=Assignment.State.RETURNED)
    with_practice(campaign)

    with pytest.raises(onboarding.PracticeNeeded):
        said(conversation)


def test_consent_leads_to_the_practice_and_not_past_it():
    campaign = live_campaign()
    with_practice(campaign)
    person = make_crowdworker()
    assignment = onboarding.open_assignment(person, campaign)
    assert assignment.state == Assignment.State.CONSENT

    onboarding.give_consent(person, campaign.instruction_versions.get())

    assignment.refresh_from_db()
    assert assignment.state == Assignment.State.TRAINING


def test_below_the_pass_mark_one_may_try_again_and_then_no_more():
    campaign = live_campaign()
    with_practice(campaign, items=2, pass_mark=2, attempts=2)
    person = agreed_person(campaign)
    assignment = onboarding.open_assignment(person, campaign)

    practise(campaign, person, right=1, number=1)
    after_first = qualifying.progress(person, campaign)
    practise(campaign, person, right=0, number=2)
    after_last = qualifying.progress(person, campaign)

    assert (after_first.number, after_first.tries_left) == (2, 1)
    assert after_first.next_item.number == 1
    assert (after_last.tries_left, after_last.next_item, after_last.has_passed) == (0, None, False)
    assert [(each.right, each.is_passed) for each in after_last.results] == [(1, False), (0, False)]
    with pytest.raises(qualifying.PracticeOver):
        answer(campaign, person, 1, is_right=True, number=3)
    assignment.refresh_from_db()
    assert assignment.state == Assignment.State.RETURNED


def test_the_first_answer_of_an_item_stands():
    campaign = live_campaign()
    with_practice(campaign, items=2)
    person = agreed_person(campaign)

    first = answer(campaign, person, 1, is_right=False)
    again = answer(campaign, person, 1, is_right=True)

    assert again == first
    assert not again.is_right
    assert QualificationAnswer.objects.count() == 1


def test_an_answer_for_another_try_is_refused():
    campaign = live_campaign()
    with_practice(campaign, items=2)
    person = agreed_person(campaign)
    answer(campaign, person, 1, is_right=True)

    with pytest.raises(qualifying.PracticeOver):
        answer(campaign, person, 2, is_right=True, number=2)


def test_a_second_answer_or_result_cannot_be_stored_at_all():
    campaign = live_campaign()
    with_practice(campaign, items=1, pass_mark=1)
    person = agreed_person(campaign)
    kept = answer(campaign, person, 1, is_right=True)
    attempt = QualificationAttempt.objects.get()

    with pytest.raises(IntegrityError), transaction.atomic():
        QualificationAnswer.objects.create(
            attempt=attempt, item=kept.item, picked_side="B", strength=1, is_right=False
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        QualificationResult.objects.create(attempt=attempt, right=0, total=1, is_passed=False)


def test_sides_are_turned_for_some_and_stay_as_they_are_for_one():
    campaign = live_campaign()
    found = with_practice(campaign, items=1, pass_mark=1).items.get()
    people = [make_crowdworker() for _ in range(24)]

    turned = [qualifying.is_mirrored(crowdworker=each, item=found, number=1) for each in people]
    again = [qualifying.is_mirrored(crowdworker=each, item=found, number=1) for each in people]

    assert turned == again
    assert set(turned) == {True, False}
    person = people[turned.index(True)]
    assert qualifying.sides(crowdworker=person, item=found, number=1) == ("Poor 1.", "Good 1.")


def test_who_passed_stays_in_when_a_new_set_is_published():
    campaign = live_campaign()
    with_practice(campaign, items=1, pass_mark=1)
    known, new = agreed_person(campaign), agreed_person(campaign)
    practise(campaign, known, right=1)

    with_practice(campaign, items=2)

    assert not qualifying.is_needed(known, campaign)
    assert qualifying.is_needed(new, campaign)


def test_switched_off_nobody_needs_it():
    campaign = live_campaign()
    with_practice(campaign)
    person = agreed_person(campaign)

    assert qualification_publishing.switch_off(campaign, actor=make_account("administrator"))

    assert not qualifying.is_needed(person, campaign)
    assert not qualification_publishing.switch_off(campaign, actor=make_account("administrator"))


def test_work_that_waited_opens_when_practice_is_switched_off():
    campaign = live_campaign()
    with_practice(campaign)
    person = agreed_person(campaign)
    waiting = onboarding.open_assignment(person, campaign)
    assert waiting.state == Assignment.State.TRAINING

    qualification_publishing.switch_off(campaign, actor=make_account("administrator"))

    opened = onboarding.open_assignment(person, campaign)
    assert (opened.pk, opened.state) == (waiting.pk, Assignment.State.WORK)


def test_each_step_after_the_practice_is_audited():
    campaign = live_campaign()
    with_practice(campaign, items=1, pass_mark=1)
    person = agreed_person(campaign)
    assignment = onboarding.open_assignment(person, campaign)

    practise(campaign, person, right=1)

    entry = AuditEntry.objects.get(action="assignment.work")
    assert (entry.object_id, entry.detail["reason"]) == (str(assignment.public_id), "practice 1/1")


def test_after_the_last_try_no_new_assignment_is_opened():
    campaign = live_campaign()
    with_practice(campaign, items=1, pass_mark=1, attempts=1)
    person = agreed_person(campaign)
    practise(campaign, person, right=0)

    with pytest.raises(onboarding.PracticeNeeded):
        onboarding.open_assignment(person, campaign)
    assert not person.assignments.exists()


def test_who_is_at_work_goes_on_with_second_opinions():
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    at_work = begun(campaign).crowdworker
    with_practice(campaign, items=1, pass_mark=1)

    assert opinions.take(at_work) is not None
    assert opinions.take(agreed_person(campaign)) is None


def test_who_is_at_work_goes_on_with_replies():
    campaign = live_campaign(human_reply_percent=100)
    chosen(answered(said(begun(campaign))))
    at_work = begun(campaign).crowdworker
    with_practice(campaign, items=1, pass_mark=1)

    assert replies.take(agreed_person(campaign)) is None
    assert replies.take(at_work) is not None


def test_second_opinions_wait_for_the_practice_too():
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    with_practice(campaign, items=1, pass_mark=1)
    person = agreed_person(campaign)
    assert opinions.take(person) is None

    practise(campaign, person, right=1)

    assert opinions.take(person) == Showing.objects.get(purpose="second_opinion")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"items": []}, "1 to 20"),
        ({"pass_mark": 3}, "pass mark"),
        ({"attempts": 0}, "1 to 5 times"),
        ({"based_on": 4}, "meanwhile"),
        ({"items": [item(known_side="C")]}, "A or B"),
    ],
)
def test_a_set_that_nobody_could_answer_is_refused(changes, words):
    values = {
        "items": [item(1), item(2)], "pass_mark": 1, "attempts": 2, "based_on": 0,
        "actor": make_account("administrator"), **changes,
    }  # fmt: skip

    with pytest.raises(QualificationRefused, match=words):
        qualification_publishing.publish(live_campaign(), **values)


def test_items_come_from_json_lines():
    line = (
        '{"prompt": "Q?", "response_a": "x", "response_b": "y", "known_side": "b", "why": "Y is."}'
    )

    items = qualification_publishing.items_from_lines(f"{line}\n\n{line}\n")

    assert [(each.prompt, each.known_side) for each in items] == [("Q?", "B"), ("Q?", "B")]
    with pytest.raises(QualificationRefused, match="line 2"):
        qualification_publishing.items_from_lines(f"{line}\n[]")
