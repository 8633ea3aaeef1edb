"""Who may set an iteration going: only somebody who showed just now who they are."""

import pytest
from django.urls import reverse

from tests.training.making import make_slot, signed_in
from training.models import Iteration

pytestmark = pytest.mark.django_db


@pytest.fixture
def slot(settings, tmp_path):
    return make_slot(settings, tmp_path)


@pytest.fixture
def found_open():
    """An administrator's session that nobody confirmed."""
    client = signed_in("administrator")
    session = client.session
    del session["confirmed_at"]
    session.save()
    return client


def test_an_unconfirmed_session_sets_no_iteration_going(slot, found_open):
    wanted = {
        "slot": slot.pk, "fewest_new": "1", "pm_preset": "demo", "policy_preset": "demo",
        "policies": "1", "trial_percent": "30", "promotes_by_itself": "on",
    }  # fmt: skip
    begun = found_open.post(reverse("begin_iteration"), wanted)
    assert not Iteration.objects.exists()
    iteration = Iteration.objects.create(number=1, slot=slot)
    before = Iteration.objects.values().get()

    now = found_open.post(reverse("start_iteration_now", args=[1]))
    again = found_open.post(reverse("retry_step", args=[1]), {"step": "release", "reason": "why"})

    assert [each.status_code for each in (begun, now, again)] == [403, 403, 403]
    assert "confirming_password" in begun.content.decode()
    assert Iteration.objects.values().get() == before
    assert found_open.post(reverse("end_iteration", args=[1]), {"reason": "why"}).status_code == 302
    iteration.refresh_from_db()
    assert iteration.state == "cancelled"


def test_a_confirmed_one_does(slot):
    Iteration.objects.create(number=1, slot=slot)

    answer = signed_in("administrator").post(reverse("start_iteration_now", args=[1]))

    assert answer.status_code == 302
    assert Iteration.objects.get().settings["fewest_new"] == 0
