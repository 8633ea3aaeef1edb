"""Every place that a role may open is reached by links from where its people begin, and no link leads to nothing."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from tests.comparisons.making import make_account

pytestmark = pytest.mark.django_db
MANAGE = ["campaigns", "crowd", "quality", "releases", "imports", "api"]
OPEN_TO_RESEARCHERS = [reverse(f"manage_{place}") for place in ["releases", "imports", "api"]]
EVERY_PLACE = [reverse("manage_dashboard"), *(reverse(f"manage_{place}") for place in MANAGE)]


def links(client: Client, address: str) -> list[str]:
    """What the bar on top and the rail lead to; each answers."""
    page = client.get(address).content.decode()
    found = [
        link
        for nav in re.findall(r"<nav.*?</nav>", page, re.DOTALL)
        for link in re.findall(r'href="([^"]+)"', nav)
    ]
    leads = {link: client.get(link, follow=True).status_code for link in found}
    assert leads == dict.fromkeys(found, 200)
    return found


@pytest.mark.parametrize(
    ("role", "places"),
    [("researcher", OPEN_TO_RESEARCHERS), ("administrator", EVERY_PLACE)],
)
def test_staff_reach_their_places_of_manage_from_the_lab(client, role, places):
    client.force_login(make_account(role))

    (manage,) = [each for each in links(client, reverse("lab_runs")) if "/manage/" in each]

    assert manage == places[0]
    assert [each for each in links(client, manage) if "/manage/" in each] == [manage, *places]
