"""Forms for hands and ears: a group of choices has a name, and typing begins where it has to."""

import re

import pytest
from django.urls import reverse

from tests.comparisons.making import make_account

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("address", "groups"),
    [("manage_campaign_new", ["Start from"]), ("manage_release_new", ["Objectives", "Tranches"])],
)
def test_groups_of_choices_are_fieldsets_with_a_legend(client, address, groups):
    client.force_login(make_account("administrator"))

    page = client.get(reverse(address)).content.decode()

    assert re.findall(r'<fieldset class="field"[^>]*>\s*<legend>([^<]*)</legend>', page) == groups
    assert '<label for="">' not in page
    for described in re.findall(r'aria-describedby="([^"]+)"', page):
        assert f'id="{described}"' in page


def test_typing_begins_at_the_name_and_after_an_error_at_the_password(client):
    address, wrong = reverse("sign_in"), {"username": "casey", "password": "not this one"}

    pages = client.get(address), client.post(address, wrong)

    inputs = [re.findall(r"<input [^>]*>", page.content.decode()) for page in pages]
    focused = [[each for each in fields if " autofocus" in each] for fields in inputs]
    assert ['name="username"' in focused[0][0], 'name="password"' in focused[1][0]] == [True, True]
    assert [len(each) for each in focused] == [1, 1]
