"""Prolific's events: only signed ones, each once, only legal steps."""

import json

import pytest
from django.urls import reverse

from comparisons.models import Arrival, Assignment, PlatformEvent
from comparisons.queries import work
from comparisons.services import assignment_ends, chat, onboarding
from tests.comparisons.arriving import PERSON, SECRET, arrive, event, make_source, prolific, signed
from tests.comparisons.talking import answered, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture(autouse=True)
def secrets(settings):
    settings.PROLIFIC_WEBHOOK_SECRETS = ["the secret before", SECRET]


@pytest.fixture
def assignment():
    return arrive(make_source(live_campaign()), prolific())


def post(client, body, headers):
    return client.post(
        reverse("prolific_hook"), body, content_type="application/json", headers=headers
    )


def state(assignment: Assignment) -> str:
    assignment.refresh_from_db()
    return assignment.state


def test_an_approved_submission_is_accepted_and_paid_once(client, assignment):
    Assignment.objects.update(state="submitted")

    answers = [post(client, *event("APPROVED")) for _ in range(2)]

    assert [(each.status_code, each.json()) for each in answers] == [
        (200, {"heeded": True}), (200, {"heeded": False}),
    ]  # fmt: skip
    assert state(assignment) == "paid"
    assert PlatformEvent.objects.get().assignment == assignment
    assert PERSON not in str(PlatformEvent.objects.values())
    assert Arrival.objects.get().platform_status == "APPROVED"


@pytest.mark.parametrize("status", ["RETURNED", "TIMED-OUT", "TIMED_OUT", "SCREENED OUT"])
def test_a_place_given_up_there_is_given_back_here(client, assignment, status):
    post(client, *event(status))

    assert state(assignment) == "returned"


def test_a_rejected_submission_is_not_paid(client, assignment):
    Assignment.objects.update(state="submitted")

    post(client, *event("REJECTED"))

    assert state(assignment) == "returned"


def test_a_submission_rejected_in_the_midst_of_the_work_ends_it_unpaid(client, assignment):
    campaign, person = assignment.campaign, assignment.crowdworker
    onboarding.give_consent(person, campaign.instruction_versions.get())
    assignment.refresh_from_db()
    finished = chat.start_conversation(assignment)
    chosen(answered(said(finished)))
    chat.end_conversation(finished)
    conversation = chat.start_conversation(assignment)

    post(client, *event("REJECTED"))

    conversation.refresh_from_db()
    assert (state(assignment), conversation.state) == ("returned", "abandoned")
    with pytest.raises(chat.WentOn):
        said(conversation)


def test_nothing_is_said_in_work_that_is_over(assignment):
    onboarding.give_consent(assignment.crowdworker, assignment.campaign.instruction_versions.get())
    assignment.refresh_from_db()
    conversation = chat.start_conversation(assignment)
    Assignment.objects.update(state="returned")  # as an event left it before

    with pytest.raises(chat.WentOn, match="not open"):
        said(conversation)


def test_events_in_the_wrong_order_change_nothing(client, assignment):
    Assignment.objects.update(state="submitted")
    for number, status in enumerate(["APPROVED", "AWAITING REVIEW", "RETURNED", "REJECTED"]):
        post(client, *event(status, number=number))

    assert state(assignment) == "paid"


def handed_in(assignment: Assignment) -> None:
    """One conversation of five finished, then the place given up: what was done is handed in."""
    onboarding.give_consent(assignment.crowdworker, assignment.campaign.instruction_versions.get())
    assignment.refresh_from_db()
    conversation = chat.start_conversation(assignment)
    chosen(answered(said(conversation)))
    chat.end_conversation(conversation)
    assignment_ends.give_back(assignment)


@pytest.mark.parametrize(
    "statuses", [
        ("REJECTED", "APPROVED"), ("APPROVED", "REJECTED"),
        ("REJECTED", "AWAITING REVIEW", "APPROVED"), ("REJECTED", "APPROVED", "AWAITING REVIEW"),
    ],
)  # fmt: skip
def test_an_approval_stands_whenever_a_rejection_comes(client, assignment, statuses):
    Assignment.objects.update(pay_rule={"amount": "20.00", "currency": "USD", "per": "assignment"})
    assignment.refresh_from_db()
    handed_in(assignment)
    client.force_login(assignment.crowdworker.account)

    for number, status in enumerate(statuses):
        post(client, *event(status, number=number))
    mine = client.get(reverse("my_work")).content.decode()
    last = client.get(reverse("hand_in", args=[assignment.public_id])).content.decode()

    assert (state(assignment), Arrival.objects.get().platform_status) == ("paid", "APPROVED")
    assert "4.00 USD" in mine
    assert "not paid" not in mine
    assert "Your work was accepted" in last


def test_a_rejection_stands_whatever_else_comes_late(client, assignment):
    handed_in(assignment)
    client.force_login(assignment.crowdworker.account)

    for number, status in enumerate(["REJECTED", "AWAITING REVIEW", "RETURNED"]):
        post(client, *event(status, number=number))
    mine = client.get(reverse("my_work")).content.decode()

    assert (state(assignment), Arrival.objects.get().platform_status) == ("returned", "REJECTED")
    assert "Rejected on the platform where you took it: not paid" in mine
    assert "no conversation was finished" not in mine


def test_a_rejection_that_comes_after_the_approval_takes_no_work_away(client, assignment):
    for number, status in enumerate(["APPROVED", "REJECTED"]):
        post(client, *event(status, number=number))

    assert (state(assignment), Arrival.objects.get().platform_status) == ("preview", "APPROVED")


def test_an_approval_of_what_was_never_handed_in_pays_nothing_here(client, assignment):
    for number, status in enumerate(["RETURNED", "APPROVED"]):
        post(client, *event(status, number=number))

    assert state(assignment) == "returned"
    assert not work.is_rejected(assignment)


@pytest.mark.parametrize(
    "changes", [
        {"secret": "a guess"}, {"timestamp": "1700000000"}, {"timestamp": "99999999999999"},
        {"timestamp": ""}, {"timestamp": "soon"}, {"timestamp": "²"},
    ],
)  # fmt: skip
def test_an_event_that_is_not_signed_now_by_them_is_refused(client, assignment, changes):
    Assignment.objects.update(state="submitted")
    body, headers = event("APPROVED", **changes)

    answer = post(
        client, body, {k: v.encode("utf-8").decode("latin-1") for k, v in headers.items()}
    )

    assert answer.status_code == 403
    assert state(assignment) == "submitted"
    assert PlatformEvent.objects.count() == 0


def test_a_changed_body_or_a_missing_signature_is_refused(client, assignment):
    body, headers = event("RETURNED")

    changed = post(client, body.replace(b"RETURNED", b"APPROVED"), headers)
    unsigned = post(client, body, {"X-Event-ID": "e"})
    strange = post(client, body, {**headers, "X-Prolific-Request-Signature": "ä"})

    assert [each.status_code for each in (changed, unsigned, strange)] == [403, 403, 403]
    assert state(assignment) == "preview"


def test_without_a_secret_every_event_is_refused(client, assignment, settings):
    settings.PROLIFIC_WEBHOOK_SECRETS = []

    assert post(client, *event("RETURNED", secret="")).status_code == 403


def test_other_events_and_unknown_submissions_are_kept_and_change_nothing(client, assignment):
    unknown = post(client, *event("RETURNED", submission="nobody"))

    assert unknown.status_code == 200
    assert state(assignment) == "preview"
    assert PlatformEvent.objects.get().assignment is None


def test_signed_nonsense_is_400(client):
    import base64
    import hashlib
    import hmac
    import time

    for text in (b"not json", b"[]", json.dumps({"event_type": "x"}).encode(), b"\xff"):
        timestamp = str(int(time.time()))
        digest = hmac.new(SECRET.encode(), timestamp.encode() + text, hashlib.sha256).digest()
        headers = {
            "X-Prolific-Request-Timestamp": timestamp, "X-Event-ID": "e",
            "X-Prolific-Request-Signature": base64.b64encode(digest).decode(),
        }  # fmt: skip
        assert post(client, text, headers).status_code == 400
    assert PlatformEvent.objects.count() == 0


def test_a_rejected_submission_says_so_and_promises_no_pay(client, assignment):
    campaign, person = assignment.campaign, assignment.crowdworker
    onboarding.give_consent(person, campaign.instruction_versions.get())
    Assignment.objects.update(pay_rule={"amount": "20.00", "currency": "USD", "per": "assignment"})
    assignment.refresh_from_db()
    finished = chat.start_conversation(assignment)
    chosen(answered(said(finished)))
    chat.end_conversation(finished)
    client.force_login(person.account)
    assert "4.00 USD" in client.get(reverse("my_work")).content.decode()

    post(client, *event("REJECTED"))
    mine = client.get(reverse("my_work")).content.decode()
    last = client.get(reverse("hand_in", args=[assignment.public_id])).content.decode()

    assert "Rejected on the platform where you took it: not paid" in mine
    assert "no conversation was finished" not in mine
    assert "4.00 USD" not in mine
    assert "This work was rejected on the platform" in last
    assert "Nothing was finished in time" not in last


@pytest.mark.parametrize(
    "body",
    [
        '{"event_type": ' + "[" * 20_000 + "]" * 20_000 + ', "resource_id": "x"}',
        "[" * 20_000,
        '{"event_type": "submission.status.change", "resource_id": "\\ud800"}',
        '{"event_type": "\\udfff", "resource_id": "x"}',
        '{"event_type": "x", "resource_id": "x", "status": "a\\u0000"}',
    ],
    ids=("nested", "never closed", "surrogate", "surrogate in the type", "nul"),
)
def test_a_signed_event_that_cannot_be_stored_is_refused(client, body):
    body, headers = signed(body.encode())
    client.raise_request_exception = False

    answer = post(client, body, headers)

    assert (answer.status_code, answer.json()["error"]) == (400, "unreadable")
    assert not PlatformEvent.objects.exists()


def test_an_event_without_a_status_is_noted(client):
    body, headers = signed(b'{"event_type": "x", "resource_id": "y", "status": null}')

    answer = post(client, body, headers)

    assert (answer.status_code, PlatformEvent.objects.get().event_type) == (200, "x")
