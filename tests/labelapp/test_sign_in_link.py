"""The command that lets a person in makes accounts that open pages."""

import pytest
from django.core.management import call_command
from django.urls import reverse

from comparisons.models import Account

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", Account.Role.values)
def test_an_account_made_with_its_link_is_asked_for_a_password_and_opens_the_start_page(
    role, client, capsys, settings
):
    call_command("sign_in_link", "robin", "--create", role)
    link = capsys.readouterr().out.strip().removeprefix(settings.PUBLIC_URL)
    landed = client.post(link)

    asked = client.get(landed.url)
    page = client.get(reverse("home"), follow=True)

    assert (landed.url, asked.status_code) == (reverse("password"), 200)

    assert page.status_code == 200
    assert page.wsgi_request.user.role == role
