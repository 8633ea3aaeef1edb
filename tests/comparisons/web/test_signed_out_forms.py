"""What a form says that came without a session, and an address that was opened though it takes forms alone."""

import pytest
from django.urls import reverse

from tests.comparisons.making import make_account, make_campaign

pytestmark = pytest.mark.django_db
SAID = "You were signed out, so what you sent was not taken."


def test_who_was_signed_out_is_told_and_led_back_to_the_form(client):
    make_campaign(slug="busy")
    page = reverse("manage_instructions", args=["busy"])

    answer = client.post(page, {"summary": "s"}, headers={"referer": f"http://testserver{page}"})

    assert answer.url == f"/sign-in/?next={page}%23unsent"
    assert SAID in client.get(answer.url).content.decode()


def test_a_script_of_a_signed_out_page_leaves_no_word_behind(client):
    headers = {"referer": "http://testserver/keys/", "accept": "application/json"}

    client.post(reverse("keys"), headers=headers)

    assert SAID not in client.get(reverse("sign_in")).content.decode()


def test_an_address_of_forms_alone_answers_with_a_page(client):
    client.force_login(make_account("administrator"))
    address = reverse("begin_iteration")

    page = client.get(address, headers={"accept": "text/html,*/*"})
    bare = client.get(address, headers={"accept": "application/json"})

    assert (page.status_code, page["Allow"]) == (405, "POST")
    assert "This address only takes a form." in page.content.decode()
    assert reverse("sign_out") in page.content.decode()
    assert (bare.status_code, bare.content) == (405, b"")
