"""Arriving by link: a look first, a button, the work, and the way back to the platform."""

import csv
import io
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from comparisons.models import Account, ArrivalSource, Assignment
from comparisons.services import onboarding
from tests.comparisons.arriving import (
    PERSON,
    SUBMISSION,
    arrive,
    arrived,
    make_source,
    mturk,
    prolific,
)  # fmt: skip
from tests.comparisons.making import make_account, make_crowdworker
from tests.comparisons.talking import live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def at(source, name="arrive"):
    return reverse(name, args=[source.public_id])


def framed(source):
    return f"/mturk/arrive/{source.public_id}/"


def test_looking_makes_no_account_and_the_button_does(client):
    source = make_source(live_campaign())

    looked = client.get(at(source), prolific())
    before = Account.objects.count()
    began = client.post(at(source), prolific())
    home = client.get(began.url)

    assert (looked.status_code, before) == (200, 0)
    assert PERSON in looked.content.decode()  # in the form it will be sent with
    assert began.url == reverse("campaign_home", args=[source.campaign.slug])
    assert PERSON not in began.url
    assert PERSON not in home.content.decode()
    assert dict(client.session).get("_auth_user_id") == str(Account.objects.get().pk)


@pytest.mark.parametrize("parameters", [{}, prolific(person="{{%PROLIFIC_PID%}}")])
def test_without_an_id_the_page_is_a_preview(client, parameters):
    source = make_source(live_campaign())

    page = client.get(at(source), parameters)
    posted = client.post(at(source), parameters)

    assert "Preview: nothing is saved" in page.content.decode()
    assert posted.status_code == 409
    assert Account.objects.count() == 0


def test_the_whole_way_to_prolific_and_back(client):
    campaign = live_campaign()
    source = make_source(campaign)
    client.post(at(source), prolific())
    assignment = Assignment.objects.get()

    client.post(reverse("start_work", args=[campaign.slug]))
    assignment.refresh_from_db()
    assert assignment.state == "consent"
    Assignment.objects.update(state="submitted")
    home = client.get(reverse("campaign_home", args=[campaign.slug]), follow=True)

    page = home.content.decode()
    assert 'href="https://app.prolific.com/submissions/complete?cc=C0DE1"' in page
    assert home.redirect_chain[0][0] == at(assignment, "hand_in")


def test_the_same_id_again_and_again_is_slowed_down(client):
    source = make_source(live_campaign(), is_open=False)

    statuses = [client.post(at(source), prolific()).status_code for _ in range(61)]

    assert statuses == [409] * 60 + [429]


def test_ones_own_data_names_the_submission_and_not_the_id(client):
    client.post(at(make_source(live_campaign())), prolific())

    text = client.get(reverse("own_data")).content.decode()

    assert SUBMISSION in text
    assert PERSON not in text


def test_elsewhere_each_assignment_has_a_code_of_its_own(client):
    source = make_source(
        live_campaign(), platform="external", completion_url="https://sona.example/?c={code}"
    )
    codes = []
    for person in ("a", "b"):
        client.post(at(source), {"id": person})
        Assignment.objects.update(state="submitted")
        page = client.get(at(Assignment.objects.first(), "hand_in")).content.decode()
        codes.append(page.partition("https://sona.example/?c=")[2][:10])

    assert len(set(codes)) == 2
    assert all(code.isalnum() and len(code) == 10 for code in codes)


def test_the_last_page_is_its_own_persons_alone(client):
    assignment = arrive(make_source(live_campaign()), prolific())
    client.force_login(make_crowdworker().account)

    assert client.get(at(assignment, "hand_in")).status_code == 404


def suspended(assignment):
    Assignment.objects.filter(pk=assignment.pk).update(state="submitted")
    person = assignment.crowdworker
    person.standing = "suspended"
    person.save(update_fields=["standing"])


def test_a_suspended_person_hands_in_what_was_finished(client):
    assignment = arrive(make_source(live_campaign()), prolific())
    suspended(assignment)
    client.force_login(assignment.crowdworker.account)

    shut = client.get(reverse("campaign_home", args=[assignment.campaign.slug]))
    last = client.get(at(assignment, "hand_in")).content.decode()

    assert shut.status_code == 403
    assert f'href="{at(assignment, "hand_in")}"' in shut.content.decode()
    assert 'href="https://app.prolific.com/submissions/complete?cc=C0DE1"' in last


def test_a_suspended_person_finds_no_last_step_where_none_waits(client):
    assignment = arrive(make_source(live_campaign()), prolific())
    suspended(assignment)
    Assignment.objects.update(state="paid")
    client.force_login(assignment.crowdworker.account)

    shut = client.get(reverse("home")).content.decode()

    assert "Your work here is paused" in shut
    assert at(assignment, "hand_in") not in shut


def test_mturk_opens_in_its_frame_alone_and_the_others_outside_it(client):
    campaign = live_campaign()
    hit, study = make_source(campaign, platform="mturk"), make_source(campaign)

    found = {
        address: client.get(address, parameters).status_code
        for address, parameters in [
            (at(hit), mturk()), (framed(hit), mturk()), (at(study), prolific()),
            (framed(study), prolific()),
        ]
    }  # fmt: skip

    assert list(found.values()) == [404, 200, 200, 404]


def test_a_closed_or_unknown_source_says_what_to_do(client):
    source = make_source(live_campaign(), is_open=False)

    closed = client.post(at(source), prolific())

    assert (closed.status_code, "takes nobody on" in closed.content.decode()) == (409, True)
    assert client.get(f"/arrive/{make_account().public_id}/").status_code == 404


def test_leaving_red_team_work_goes_back_to_the_platform(client):
    campaign = live_campaign(objective="harmless")
    live_campaign(names=("x", "y"))
    client.post(at(make_source(campaign)), prolific())

    left = client.post(reverse("leave_red_team", args=[campaign.slug]), follow=True)

    assert "This work was given back" in left.content.decode()


def test_staff_make_a_source_and_read_its_address(client):
    campaign = live_campaign()
    client.force_login(make_account("administrator"))
    typed = {
        "platform": "prolific", "label": "pilot", "completion_code": "C1", "pay_amount": "7.5",
        "pay_currency": "USD", "id_parameter": "id", "places": "20",
    }  # fmt: skip
    new = reverse("manage_arrivals", args=[campaign.slug])

    refused = client.post(new, {**typed, "completion_code": ""})
    made = client.post(new, typed)
    page = client.get(made.url).content.decode()
    client.post(made.url, {"label": "pilot", "completion_code": "C2", "pay_amount": "8"})

    source = ArrivalSource.objects.get()
    assert "Prolific needs the completion code" in refused.content.decode()
    assert f"{at(source)}?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}&amp;STUDY_ID" in page
    assert "refused until PROLIFIC_WEBHOOK_SECRETS is set" in page
    assert (source.completion_code, source.places, source.is_open) == ("C2", None, False)


def test_what_to_pay_is_told_by_pseudonym_and_submission(client):
    person = make_crowdworker(pseudonym="kx-3141")
    campaign = live_campaign()
    source = arrived(campaign, person=person).source
    arrive(source, prolific(person="still-at-work", submission="s2"))
    client.force_login(make_account("administrator"))

    text = client.get(at(source, "manage_arrival_pay")).content.decode()
    for to in ("accepted", "paid", "paid", "nonsense"):
        client.post(
            at(source, "manage_arrival_settle"), {"to": to, "made_at": timezone.now().isoformat()}
        )

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["pseudonym"], row["submission"], row["state"]) for row in rows] == [
        ("kx-3141", SUBMISSION, "submitted")
    ]
    assert PERSON not in text
    assert person.external_id_hash not in text
    assert sorted(Assignment.objects.values_list("state", flat=True)) == ["paid", "preview"]


def test_no_cell_of_what_to_pay_is_a_formula(client):
    source = make_source(live_campaign(), completion_code="-1+1")
    arrive(source, prolific(study="-2-2", submission="-3-3"))
    Assignment.objects.update(state="submitted")
    client.force_login(make_account("administrator"))

    text = client.get(at(source, "manage_arrival_pay")).content.decode()

    row = next(csv.DictReader(io.StringIO(text)))
    told = (row["completion_code"], row["study"], row["submission"])
    assert told == ("'-1+1", "'-2-2", "'-3-3")


def test_sign_up_is_closed_without_an_invitation_or_a_source(client):
    assert client.get("/join/guess/").status_code == 410
    assert client.post("/join/guess/", {"username": "x", "password": "y"}).status_code == 410
    assert client.get("/sign-up/").status_code in {302, 404}
    with pytest.raises(onboarding.InvitationInvalid):
        onboarding.sign_up("guess", username="x", password="y")
    assert Account.objects.count() == 0


def test_an_invitation_is_a_link_or_a_code_to_type(client):
    client.force_login(make_account("administrator"))
    page = client.post(
        reverse("manage_crowd"), {"label": "friends", "pool": "general", "uses": "1"}
    )
    code = page.context["code"]
    client.logout()

    typed = client.post(reverse("join_by_code"), {"code": code})
    wrong = client.post(reverse("join_by_code"), {"code": "../manage"})

    assert page.context["link"] == f"http://127.0.0.1:8000{typed.url}"
    assert page.context["link"] in page.content.decode()
    assert client.get(typed.url).status_code == 200
    assert wrong.status_code == 422


def test_no_way_to_serve_that_we_ship_logs_the_query():
    root = Path(settings.BASE_DIR)
    nginx = (root / "deploy" / "nginx.conf").read_text()
    formats = re.findall(r"log_format (\w+) '([^']*)'", nginx)

    assert '"labelapp.listening"' in (root / "deploy" / "Dockerfile").read_text()
    assert "access_log=False" in (root / "labelapp" / "listening.py").read_text()
    assert [name for name, _ in formats] == re.findall(r"access_log \S+ (\w+);", nginx)
    for _, text in formats:
        assert not re.search(r"\$(request|request_uri|uri|args|query_string|http_referer)\b", text)
    assert re.findall(r"error_log \S+ (\w+);", nginx) == ["alert"] * nginx.count("server {")
