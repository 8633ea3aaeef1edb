"""What is shown once is made once: loading the page again makes no second token and no second code."""

import pytest
from django.urls import reverse

from comparisons.models import ApiToken, Invitation
from comparisons.services.confirmations import note_confirmation
from tests.comparisons.making import make_account

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "typed", "made"),
    [
        ("manage_api", {"name": "ci", "scope": "read", "days": "90"}, ApiToken),
        ("manage_crowd", {"label": "one", "pool": "general", "uses": "1"}, Invitation),
    ],
)
def test_a_page_that_is_loaded_again_makes_nothing_more(client, name, typed, made):
    client.force_login(make_account("administrator"))
    session = client.session
    note_confirmation(session)
    session.save()
    address = reverse(name)
    sent = typed | {"page_key": str(client.get(address).context["page_key"])}

    first = client.post(address, sent)
    again = client.post(address, sent, follow=True)
    other = client.post(address, sent | {"page_key": str(first.context["page_key"])})

    secrets = [
        each.context.get("secret") or each.context.get("code") for each in (first, again, other)
    ]
    assert [bool(each) for each in secrets] == [True, False, True]
    assert "was made already; it was shown once." in again.content.decode()
    assert made.objects.count() == 2
    assert ("data-copy-of=" in first.content.decode(), "data-copy-of=" in again.content.decode()) == (
        True, False,
    )  # fmt: skip
