"""A group of choices in a form has a name that a screen reader says with it."""

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
