"""Arriving and taking work on: by invitation, after consent, once at a time, given back in time."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from comparisons.models import Account, Assignment, AuditEntry, Crowdworker, Invitation
from comparisons.queries import pay
from comparisons.services import assignment_ends, chat, onboarding, turns
from tests.comparisons.making import PASSWORD, make_account, make_crowdworker
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_an_invitation_lets_in_as_many_as_it_says():
    code = onboarding.make_invitation(label="friends", pool="select", uses=1)

    person = onboarding.sign_up(code, username="grace", password=PASSWORD)
    with pytest.raises(onboarding.InvitationInvalid):
        onboarding.sign_up(code, username="edsger", password=PASSWORD)

    assert (person.pool, person.account.role) == ("select", "crowdworker")
    assert list(Account.objects.values_list("username", flat=True)) == ["grace"]
    assert code not in str(Invitation.objects.values())


def test_making_an_invitation_is_in_the_audit_without_its_code():
    admin = make_account("administrator")

    code = onboarding.make_invitation(label="friends", pool="select", uses=3, created_by=admin)

    (entry,) = AuditEntry.objects.values()
    assert (entry["actor_id"], entry["action"]) == (admin.pk, "invitation.create")
    assert entry["detail"] == {"label": "friends", "pool": "select", "uses": 3}
    assert code not in str(entry)
    assert onboarding.hash_of_code(code) not in str(entry)


def test_a_sign_up_that_fails_leaves_the_invitation_unused():
    code = onboarding.make_invitation(label="friends")
    Account.objects.create_user(username="grace", password=PASSWORD)

    with pytest.raises(ValueError, match="grace"):
        onboarding.sign_up(code, username="grace", password=PASSWORD)

    assert onboarding.usable_invitation(code) is not None


def test_an_invitation_that_ran_out_does_not_work():
    code = onboarding.make_invitation(
        label="friends", expires_at=timezone.now() - timedelta(seconds=1)
    )

    assert onboarding.usable_invitation(code) is None


def test_external_ids_are_kept_as_keyed_hashes_and_belong_to_one_person():
    account, other = (Account.objects.create_user(username=name) for name in ("one", "two"))
    person = onboarding.make_crowdworker(account, platform="prolific", external_id="5f3c")

    assert "5f3c" not in person.external_id_hash
    with pytest.raises(IntegrityError):
        onboarding.make_crowdworker(other, platform="prolific", external_id="5f3c")


def test_work_opens_with_consent_and_stays_one_assignment():
    campaign, person = live_campaign(pay_amount="20.00"), make_crowdworker()

    assignment = onboarding.open_assignment(person, campaign)
    assert assignment.state == "consent"
    with pytest.raises(chat.WentOn):
        chat.start_conversation(assignment)
    onboarding.give_consent(person, campaign.instruction_versions.get())

    again = onboarding.open_assignment(person, campaign)
    assert (again, again.state) == (assignment, "work")
    assert again.pay_rule == {"amount": "20.00", "currency": "USD", "per": "assignment"}
    assert chat.start_conversation(again) == chat.start_conversation(again)
    assert Assignment.objects.count() == 1


@pytest.mark.parametrize("values", [{"state": "paused"}, {"pool": "select"}])
def test_no_work_where_the_campaign_does_not_take_the_person(values):
    campaign = live_campaign(**values)

    with pytest.raises(onboarding.NoWork):
        onboarding.open_assignment(make_crowdworker(), campaign)


def test_an_overdue_assignment_hands_in_what_is_finished_and_gives_back_the_rest():
    campaign = live_campaign()
    worker, idler = agreed_person(campaign), agreed_person(campaign)
    conversation = begun(campaign, worker)
    chosen(answered(said(conversation)))
    chat.end_conversation(conversation)
    begun(campaign, worker)
    begun(campaign, idler)
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert assignment_ends.give_back_overdue() == 2

    assert worker.assignments.get().state == "submitted"
    assert list(worker.conversations.order_by("pk").values_list("state", flat=True)) == [
        "finished",
        "abandoned",
    ]
    assert idler.assignments.get().state == "returned"


def test_a_lease_that_another_tab_kept_going_is_not_given_back():
    campaign = live_campaign()
    conversation = begun(campaign)
    seen_overdue = conversation.assignment
    Assignment.objects.update(lease_until=timezone.now() + timedelta(minutes=5))

    assert assignment_ends.give_back(seen_overdue, only_overdue=True) is False

    conversation.refresh_from_db()
    seen_overdue.refresh_from_db()
    assert (conversation.state, seen_overdue.state) == ("open", "work")


def test_an_assignment_handed_in_meanwhile_keeps_its_conversations():
    conversation = begun(live_campaign())
    Assignment.objects.update(state="submitted")

    assert assignment_ends.give_back(conversation.assignment) is False

    conversation.refresh_from_db()
    assert conversation.state == "open"


def test_simulated_people_mark_their_conversations():
    campaign = live_campaign()
    person = agreed_person(campaign, platform=Crowdworker.Platform.SIMULATED)

    assert begun(campaign, person).origin == "simulated"


def test_pseudonyms_say_nothing():
    assert onboarding.new_pseudonym(lambda letters: letters[0])[:3] == "aa-"


@pytest.mark.parametrize(("per", "state"), [("hour", "submitted"), ("assignment", "returned")])
def test_an_hour_of_skipped_turns_is_handed_in_and_paid(per, state):
    campaign = live_campaign(pay_amount="20.00", pay_per=per)
    conversation = begun(campaign)
    turns.skip_turn(said(conversation), reason="upsetting")
    Assignment.objects.update(active_milliseconds=25 * 60_000)

    assert assignment_ends.give_back(conversation.assignment) is True

    assert Assignment.objects.get().state == state
    rows = pay.pay_rows(campaign)
    assert [str(each.amount) for each in rows] == (["8.33"] if per == "hour" else [])
