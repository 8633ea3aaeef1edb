"""Inside MTurk's frame: what it may frame, whose cookies are seen, where its last form may go."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import get_resolver, reverse

from comparisons.models import Account, Assignment
from comparisons.web import arrival_frame_urls
from comparisons.web.arrival_frame import ADDRESSES
from tests.comparisons.arriving import SANDBOX, make_source, mturk
from tests.comparisons.making import make_account
from tests.comparisons.talking import live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def address(name: str, *arguments: object) -> str:
    return reverse(name, args=arguments, urlconf=ADDRESSES)


def directive(response, name: str) -> str:
    policy = response["Content-Security-Policy"]
    return next(each.strip() for each in policy.split(";") if each.strip().startswith(f"{name} "))


@pytest.fixture
def source():
    return make_source(live_campaign(), platform="mturk")


@pytest.fixture
def worker(source):
    """A browser whose worker has begun."""
    client = Client()
    began = client.post(address("arrive", source.public_id), mturk())
    assert began.url == address("campaign_home", source.campaign.slug)
    return client


def test_only_mturk_may_frame_the_pages_below_its_path_and_nobody_the_others(source, worker):
    campaign = source.campaign
    inside = [address("arrive", source.public_id), address("home"), address("my_work"),
              address("campaign_home", campaign.slug), address("sign_in"), "/mturk/nothing/"]  # fmt: skip
    outside = Client()
    outside.force_login(make_account("administrator"))

    for place in inside:
        answer = worker.get(place, mturk())
        assert directive(answer, "frame-ancestors") == "frame-ancestors " + " ".join(
            settings.MTURK_HOSTS
        )
        assert "X-Frame-Options" not in answer
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "no-store" in answer["Cache-Control"]
    for place in ("/sign-in/", "/manage/", "/nothing/", reverse("manage_crowd"), "/mturk"):
        answer = outside.get(place)
        assert answer["X-Frame-Options"] == "DENY"
        if "Content-Security-Policy" in answer:
            assert directive(answer, "frame-ancestors") == "frame-ancestors 'none'"


def test_cookies_of_the_frame_have_names_a_path_and_a_partition_of_their_own(source):
    client = Client()
    answer = client.get(address("arrive", source.public_id), mturk())
    began = client.post(address("arrive", source.public_id), mturk())

    headers = [each.OutputString() for each in [*answer.cookies.values(), *began.cookies.values()]]
    assert {each.partition("=")[0] for each in headers} == {
        "mturk_csrftoken", "mturk_sessionid", "mturk_theme",
    }  # fmt: skip
    for header in headers:
        assert "SameSite=None" in header
        assert "Path=/mturk/" in header
        assert "; Secure" in header
        assert header.endswith("; Partitioned")


def test_cookies_of_the_site_open_nothing_in_the_frame_and_the_other_way_round(source, worker):
    staff = Client()
    staff.force_login(make_account("administrator"))

    seen_inside = staff.get(address("my_work"))
    seen_outside = worker.get(reverse("my_work"))

    assert seen_inside.url.startswith(address("sign_in"))
    assert seen_outside.url.startswith(reverse("sign_in"))
    assert worker.get(address("my_work")).status_code == 200
    assert staff.get(address("sign_in")).status_code == 401


def test_cookies_of_the_site_stay_as_they_were(client):
    account = make_account()
    answer = client.post(
        reverse("sign_in"), {"username": account.username, "password": "a long enough password"}
    )

    assert {each["samesite"] for each in answer.cookies.values()} == {"Lax"}
    assert {each["path"] for each in answer.cookies.values()} == {"/"}


def test_no_staff_page_and_no_sign_in_by_name_is_framed():
    names = {
        each.name for part in get_resolver(ADDRESSES).url_patterns for each in part.url_patterns
    }

    assert not [name for name in names if name.startswith(("manage", "lab", "run"))]
    assert not names & {"sign_in_link", "password", "join", "prolific_hook"}
    assert {each.name for each in arrival_frame_urls.CROWD} <= names
    for path in (
        "/mturk/manage/", "/mturk/lab/", "/mturk/sign-in/", "/mturk/password/", "/mturk/hooks/prolific/",
    ):  # fmt: skip
        assert Client().get(path).status_code == 404


def test_unsafe_methods_in_the_frame_need_its_token(source):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    answers = {
        place: client.post(place, mturk()).status_code
        for place in (address("arrive", source.public_id), address("sign_out"), address("keys"))
    }

    assert set(answers.values()) == {403}
    assert Account.objects.count() == 0


def test_the_last_form_goes_to_the_host_that_sent_the_worker(source, worker):
    Assignment.objects.update(state="submitted")

    page = worker.get(address("campaign_home", source.campaign.slug), follow=True)
    text = page.content.decode()

    assert f'action="{SANDBOX}/mturk/externalSubmit"' in text
    assert 'name="assignmentId" value="3ASSIGNMENT1"' in text
    assert "A3CANARYWORKER" not in text
    allowed = directive(page, "form-action").split()[1:]
    assert set(allowed) == {"'self'", *settings.MTURK_HOSTS}
    assert directive(worker.get(address("home")), "form-action") == "form-action 'self'"


def test_a_hit_that_is_only_looked_at_shows_the_instructions_and_no_button(source):
    parameters = {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "3HIT1"}

    page = Client().get(address("arrive", source.public_id), parameters).content.decode()

    assert "Preview: nothing is saved" in page
    assert "Be kind." in page
    assert 'action="/mturk/arrive/' not in page
    assert Account.objects.count() == 0
