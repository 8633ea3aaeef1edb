"""An address is known to a name that was signed in to from it, for a while, and is kept as a hash alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import RateWindow
from comparisons.services.known_addresses import KEPT_SECONDS, is_known_address, note_address
from comparisons.services.sweeping import sweep_rate_windows

pytestmark = pytest.mark.django_db

ADDRESS = "2001:db8::7"


def test_an_address_is_known_to_the_name_that_was_signed_in_to_there():
    for _time in range(2):
        note_address(username="grace", address=ADDRESS)

    known = {
        (name, address): is_known_address(username=name, address=address)
        for name in ("grace", "edsger")
        for address in (ADDRESS, "192.0.2.7")
    }
    assert [pair for pair, is_known in known.items() if is_known] == [("grace", ADDRESS)]


def test_neither_name_nor_address_is_kept_and_the_hash_goes(settings):
    note_address(username="grace", address=ADDRESS)
    key = RateWindow.objects.get().key
    settings.SECRET_KEY = "another " * 9

    assert "grace" not in key
    assert ADDRESS not in key
    assert not is_known_address(username="grace", address=ADDRESS)  # the hash hangs on the secret
    over = timezone.now() - timedelta(seconds=1)
    assert RateWindow.objects.get().ends_at - over < timedelta(seconds=KEPT_SECONDS + 2)
    RateWindow.objects.update(ends_at=over)
    assert sweep_rate_windows() == 1


def test_an_address_whose_time_is_over_is_not_known():
    note_address(username="grace", address=ADDRESS)
    RateWindow.objects.update(ends_at=timezone.now())

    assert not is_known_address(username="grace", address=ADDRESS)
