"""The page of keys: what cannot be kept is said where it stands."""

import pytest
from django.urls import reverse

from comparisons.services.preferences import KEY_ACTIONS
from tests.comparisons.making import make_account

pytestmark = pytest.mark.django_db


def test_a_key_that_two_actions_have_is_marked_at_both_and_names_them(client):
    account = make_account("crowdworker")
    client.force_login(account)
    keys = {f"key_{action}": key for action, key in KEY_ACTIONS.items()}

    answer = client.post(reverse("keys"), keys | {"has_single_keys": "on", "key_flag": "S"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Two actions have the same key. Give each its own. s: Skip this turn, Flag" in page
    marked = [each for each in page.split("<input ") if 'aria-invalid="true"' in each]
    assert [each.split('name="')[1].split('"')[0] for each in marked] == ["key_skip", "key_flag"]
    account.refresh_from_db()
    assert account.key_map == {}
