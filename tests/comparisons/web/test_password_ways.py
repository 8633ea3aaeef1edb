"""Ways to the page of one's own password: the menu and the one-time link; none for who came from elsewhere."""

import re

import pytest
from django.urls import reverse

from comparisons.models import Account
from comparisons.services.accounts import create_account, make_sign_in_link
from comparisons.services.onboarding import make_crowdworker
from comparisons.web.arrival_frame import ADDRESSES
from tests.comparisons.arriving import make_source, mturk, prolific
from tests.comparisons.talking import live_campaign
from tests.comparisons.web.test_password import (
    NEW,
    NO_PASSWORD_YET,
    ROLES,
    URL,
    newcomer,
    signed_in,
    somebody,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

LINK = f'<a href="{URL}">'


def test_people_of_other_platforms_have_no_such_page(client):
    source = make_source(live_campaign())
    client.post(reverse("arrive", args=[source.public_id]), prolific())

    page = client.get(reverse("home")).content.decode()
    answers = [client.get(URL), client.post(URL, {"new_password": NEW})]

    assert [each.status_code for each in answers] == [404, 404]
    assert f'href="{reverse("keys")}"' in page
    assert LINK not in page
    assert not Account.objects.get().has_usable_password()


def test_the_page_is_not_framed(client):
    source = make_source(live_campaign(), platform="mturk")
    client.post(reverse("arrive", args=[source.public_id], urlconf=ADDRESSES), mturk())

    page = client.get(reverse("home", urlconf=ADDRESSES))

    assert page.status_code == 200
    assert "/password/" not in page.content.decode()
    assert client.get("/mturk/password/").status_code == 404


def test_a_session_of_the_site_that_was_put_into_the_frame_finds_no_way_there(client):
    outside = signed_in(somebody("crowdworker"))
    client.cookies["mturk_sessionid"] = outside.cookies["sessionid"].value

    page = client.get(reverse("home", urlconf=ADDRESSES))

    assert page.status_code == 200
    assert "/password/" not in page.content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_the_menu_leads_there_after_the_keys(role):
    page = signed_in(somebody(role)).get(reverse("home"), follow=True).content.decode()

    places = re.findall(r'<a href="([^"]+)"[^>]*>', page[page.index("data-menu") :])
    start = places.index(reverse("keys"))
    assert places[start : start + 2] == [reverse("keys"), URL]


def test_the_menu_of_nobody_has_no_such_link(client):
    assert LINK not in client.get(reverse("sign_in")).content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_a_link_asks_who_has_no_password_for_one(client, role):
    landed = client.post(make_sign_in_link(newcomer(role)))

    assert landed.url == URL
    assert NO_PASSWORD_YET in client.get(landed.url).content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_a_link_brings_everybody_else_home(client, role):
    assert client.post(make_sign_in_link(somebody(role))).url == reverse("home")


def test_a_link_brings_people_of_other_platforms_home(client):
    account = create_account(username="prolific-1", role="crowdworker")
    make_crowdworker(account, platform="prolific", external_id="x")

    assert client.post(make_sign_in_link(account)).url == reverse("home")


def test_whoever_lost_a_password_chooses_another_behind_a_link(client):
    account = somebody("researcher")
    client.post(make_sign_in_link(account))

    page = client.get(URL).content.decode()
    answer = client.post(URL, {"new_password": NEW})

    assert "current_password" not in page
    assert answer.status_code == 302
    account.refresh_from_db()
    assert account.check_password(NEW)
    assert client.get(reverse("keys")).status_code == 200
    assert "current_password" in client.get(URL).content.decode()  # known from now on


def test_a_link_stands_in_for_the_password_no_longer_than_it_confirms(staff, admin, minute):
    staff.post(reverse("sign_out"))
    staff.post(make_sign_in_link(admin))

    minute(16)
    answer = staff.post(URL, {"new_password": NEW})

    assert answer.status_code == 422
    admin.refresh_from_db()
    assert not admin.check_password(NEW)


def test_a_session_begun_by_password_is_asked_for_it(client):
    account = somebody("researcher")
    client.post(make_sign_in_link(account))
    client.post(reverse("sign_out"))

    answer = signed_in(account).post(URL, {"new_password": NEW})

    assert answer.status_code == 422
    account.refresh_from_db()
    assert not account.check_password(NEW)
