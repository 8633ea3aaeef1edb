"""The page of imports: what came in from where, and what was here already."""

import json

import pytest
from django.urls import reverse

from comparisons.services.importing import import_hh

PAIR = json.dumps(
    {"chosen": "\n\nHuman: Hi\n\nAssistant: a", "rejected": "\n\nHuman: Hi\n\nAssistant: b"}
)


def test_an_import_of_what_was_here_is_told_on_the_page(staff):
    import_hh([PAIR], objective="helpful", tranche="base", source="right.jsonl")
    before = staff.get(reverse("manage_imports")).content.decode()
    import_hh([PAIR], objective="helpful", tranche="online", source="<wrong>.jsonl")

    page = staff.get(reverse("manage_imports")).content.decode()

    said = "1 imported; 1 of them are already here under another tranche or objective"
    assert said not in before
    assert said in page
    assert "&lt;wrong&gt;.jsonl" in page


@pytest.mark.django_db
def test_the_page_is_for_staff(client):
    assert client.get(reverse("manage_imports")).status_code == 302
