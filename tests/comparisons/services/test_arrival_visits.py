"""People from other platforms: one account each, places that hold, legal steps only, all audited."""

import logging
import threading
from datetime import timedelta

import pytest
from django.core import serializers
from django.db import connections
from django.utils import timezone

from comparisons import models
from comparisons.models import Account, Assignment, AuditEntry, Crowdworker
from comparisons.services import arrival_visits, assignment_ends, audit, chat, onboarding
from comparisons.services.arrival_visits import ArrivalRefused, NoPlace
from comparisons.services.assignment_states import NEXT_STATES, move
from tests.comparisons.arriving import PERSON, SUBMISSION, arrive, make_source, mturk, prolific
from tests.comparisons.making import make_campaign, make_crowdworker
from tests.comparisons.talking import answered, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_one_id_is_one_account_and_one_submission_one_assignment():
    campaign = live_campaign()
    source, other = make_source(campaign), make_source(live_campaign(names=("x", "y")))

    first = arrive(source, prolific())
    again = arrive(source, prolific())
    elsewhere = arrive(other, prolific(study="study2", submission="s2"))

    assert (first, first.crowdworker) == (again, elsewhere.crowdworker)
    assert first.state == "preview"
    assert first.pay_rule == {"amount": "7.50", "currency": "USD", "per": "assignment"}
    assert Account.objects.count() == Crowdworker.objects.count() == 1
    assert not first.crowdworker.account.has_usable_password()


def test_the_id_itself_is_stored_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    source = make_source(live_campaign())

    arrive(source, prolific())

    rows = "".join(
        serializers.serialize("json", getattr(models, name).objects.all())
        for name in models.__all__
    )
    assert SUBMISSION in rows
    assert PERSON not in rows
    assert PERSON not in caplog.text
    assert PERSON not in repr(arrival_visits.visit_of(source, prolific()))


def test_the_hash_hangs_on_the_secret_and_follows_when_it_changes(settings):
    source = make_source(live_campaign())
    first = arrive(source, prolific()).crowdworker
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another secret " * 5, [old]

    again = arrive(source, prolific()).crowdworker
    settings.SECRET_KEY_FALLBACKS = []

    assert again == first
    assert again.external_id_hash != first.external_id_hash
    assert arrive(source, prolific()).crowdworker == first


@pytest.mark.parametrize(
    "changes", [
        {"SESSION_ID": ""}, {"PROLIFIC_PID": "=cmd()"}, {"SESSION_ID": "a b"},
        {"STUDY_ID": "other"}, {"PROLIFIC_PID": "x" * 200},
    ],
)  # fmt: skip
def test_an_address_that_does_not_fit_is_refused(changes):
    source = make_source(live_campaign(), external_study_id="study1")

    with pytest.raises(ArrivalRefused):
        arrive(source, {**prolific(), **changes})

    assert Account.objects.count() == 0


@pytest.mark.parametrize(
    ("to", "origin"), [
        ("https://www.mturk.com", "https://www.mturk.com"),
        ("https://www.mturk.com/", "https://www.mturk.com"),
        ("https://workersandbox.mturk.com/mturk/externalSubmit", "https://workersandbox.mturk.com"),
    ],
)  # fmt: skip
def test_mturk_takes_the_form_back_at_its_own_hosts(to, origin):
    assert (
        arrive(make_source(live_campaign(), platform="mturk"), mturk(to=to)).arrival.submit_to
        == origin
    )


@pytest.mark.parametrize(
    "to", [
        "", "https://evil.example", "https://www.mturk.com.evil.example", "http://www.mturk.com",
        "https://www.mturk.com@evil.example", "javascript:1", "https://www.mturk.com/elsewhere",
    ],
)  # fmt: skip
def test_no_other_host_ever_takes_the_form(to):
    with pytest.raises(ArrivalRefused):
        arrive(make_source(live_campaign(), platform="mturk"), mturk(to=to))

    assert Assignment.objects.count() == 0


def test_a_look_without_taking_the_work_makes_nothing():
    source = make_source(live_campaign(), platform="mturk")
    parameters = {**mturk(assignment=arrival_visits.NOT_ACCEPTED), "workerId": ""}

    assert arrival_visits.visit_of(source, parameters).is_preview
    with pytest.raises(ArrivalRefused):
        arrive(source, parameters)

    assert Account.objects.count() == 0


def test_places_are_counted_and_given_back():
    source = make_source(live_campaign(), places=1)
    first = arrive(source, prolific())

    with pytest.raises(NoPlace):
        arrive(source, prolific(person="b", submission="s2"))
    assignment_ends.give_back(first)
    second = arrive(source, prolific(person="b", submission="s2"))

    assert (first.state, second.state) == ("returned", "preview")
    assert Assignment.objects.filter(state="returned").get() == first


@pytest.mark.django_db(transaction=True)
def test_two_who_want_the_last_place_at_once_do_not_both_get_it():
    source, got = make_source(live_campaign(), places=1), []

    def come(number: int) -> None:
        try:
            got.append(arrive(source, prolific(person=f"p{number}", submission=f"s{number}")))
        except NoPlace:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == Assignment.objects.count() == 1


@pytest.mark.parametrize(
    "closed", [{"source": {"is_open": False}}, {"campaign": {"state": "paused"}}]
)
def test_a_closed_door_lets_nobody_in(closed):
    source = make_source(live_campaign(**closed.get("campaign", {})), **closed.get("source", {}))

    with pytest.raises(NoPlace):
        arrive(source, prolific())

    assert Account.objects.count() == 0 or not Assignment.objects.exists()


def test_a_submission_belongs_to_who_took_it():
    source = make_source(live_campaign())
    arrive(source, prolific())

    with pytest.raises(ArrivalRefused):
        arrive(source, prolific(person="somebody-else"))

    assert Assignment.objects.count() == 1


@pytest.mark.parametrize("platform", ["prolific", "mturk"])
def test_a_submission_is_one_assignment_whatever_study_its_address_names(platform):
    campaign = live_campaign()
    sources = [make_source(campaign, platform=platform, label=label) for label in ("one", "two")]
    visit = prolific() if platform == "prolific" else mturk()
    study = arrival_visits.names_of(sources[0])[1]

    got = {arrive(each, {**visit, study: name}) for each in sources for name in ("s1", "s2", "")}

    assert len(got) == Assignment.objects.count() == 1
    assert got.pop().external_platform == platform


def test_the_same_submission_is_somebody_elses_under_another_study_too():
    source = make_source(live_campaign())
    arrive(source, prolific())

    with pytest.raises(ArrivalRefused):
        arrive(source, prolific(person="somebody-else", study="another"))

    assert Assignment.objects.count() == 1


def test_two_platforms_may_number_their_submissions_alike():
    campaign = live_campaign()
    one = arrive(make_source(campaign), prolific(submission="7"))

    other = arrive(make_source(campaign, platform="mturk"), mturk(assignment="7"))

    assert one != other


def test_work_taken_anew_ends_what_was_begun():
    source = make_source(live_campaign())
    first = arrive(source, prolific())

    second = arrive(source, prolific(submission="s2"))

    first.refresh_from_db()
    assert (first.state, second.state) == ("returned", "preview")


def test_without_submission_ids_a_person_works_once_per_source():
    source = make_source(live_campaign(), platform="external")
    first = arrive(source, {"id": "sona-17"})
    Assignment.objects.update(state="submitted")

    assert arrive(source, {"id": "sona-17"}) == first


def test_people_of_a_platform_take_work_on_there_alone():
    campaign = live_campaign()
    person = make_crowdworker(platform="prolific")

    with pytest.raises(onboarding.NoWork):
        onboarding.open_assignment(person, campaign)


def test_the_way_from_preview_to_paid_is_audited_step_by_step():
    campaign = live_campaign(conversations_per_assignment=1)
    assignment = arrive(make_source(campaign), prolific())
    person = assignment.crowdworker

    onboarding.open_assignment(person, campaign)
    onboarding.give_consent(person, campaign.instruction_versions.get())
    assignment.refresh_from_db()
    conversation = chat.start_conversation(assignment)
    chosen(answered(said(conversation)))
    chat.end_conversation(conversation)
    assignment.refresh_from_db()
    move(assignment, to="accepted")
    move(assignment, to="paid")

    entries = AuditEntry.objects.filter(object_id=str(assignment.public_id))
    assert [(each.action, each.detail.get("before")) for each in entries] == [
        ("assignment.open", None), ("assignment.consent", "preview"),
        ("assignment.work", "consent"), ("assignment.submitted", "work"),
        ("assignment.accepted", "submitted"), ("assignment.paid", "accepted"),
    ]  # fmt: skip
    assert assignment.submitted_at < assignment.accepted_at < assignment.paid_at
    assert list(audit.chain_breaks()) == []


@pytest.mark.parametrize("before", Assignment.State.values)
def test_only_legal_steps_are_taken(before):
    person = make_crowdworker()
    for after in Assignment.State.values:
        assignment = Assignment.objects.create(
            crowdworker=person, campaign=make_campaign(), state=before
        )
        entries = AuditEntry.objects.count()

        is_moved = move(assignment, to=after)

        assignment.refresh_from_db()
        assert is_moved == (after in NEXT_STATES[before])
        assert assignment.state == (after if is_moved else before)
        assert AuditEntry.objects.count() == entries + is_moved


def test_a_step_that_cannot_be_audited_is_not_taken(monkeypatch):
    assignment = Assignment.objects.create(
        crowdworker=make_crowdworker(), campaign=make_campaign(), state="submitted"
    )

    def full(**_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(audit, "record", full)
    with pytest.raises(OSError, match="disk full"):
        move(assignment, to="accepted")

    assert Assignment.objects.get().state == "submitted"


def test_an_overdue_arrival_frees_its_place():
    source = make_source(live_campaign(), places=1)
    arrive(source, prolific())
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assignment_ends.give_back_overdue()

    assert arrival_visits.places_taken(source) == 0
