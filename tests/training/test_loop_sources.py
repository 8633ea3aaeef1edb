"""An iteration can leave imports out: of what it waits for, of its release, and of what the page says.

Knows rows and pages; no model is trained here.
"""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from comparisons.models import Comparison
from comparisons.services.releasing import cut_in_background
from tests.training.making import make_comparisons, make_slot, signed_in
from training import iterations, online_loop
from training.iterations import LoopSettings
from training.models import Iteration

pytestmark = pytest.mark.django_db
PEARS = "pears.jsonl@helpful/base"


@pytest.fixture
def slot(settings, tmp_path):
    return make_slot(settings, tmp_path)


@pytest.fixture
def pears():
    """Eight that were imported, beside whatever the crowd makes."""
    make_comparisons(8, words="pears")
    for each in Comparison.objects.all():
        each.import_key, each.import_source = f"pears {each.pk}", "pears.jsonl"
        each.save()


def test_an_import_left_out_is_neither_waited_for_nor_in_the_release(slot, pears):
    make_comparisons(5, words="crowd")
    wanted = LoopSettings(fewest_new=6, without_sources=(PEARS,))
    iteration = online_loop.begin(slot=slot, wanted=wanted, actor=None)
    assert (iterations.new_comparisons(iteration), iteration.release) == (5, None)

    make_comparisons(1, words="one more")
    release = online_loop.advance(iteration).release

    cut_in_background(release.pk)
    sources = release.members.values_list("comparison__import_source", flat=True)
    assert sorted(sources) == [""] * 6
    assert LoopSettings.of(Iteration.objects.get()) == wanted


def test_leaving_out_what_the_last_release_held_does_not_hide_what_is_new(slot, pears):
    first = online_loop.begin(slot=slot, wanted=LoopSettings(fewest_new=1), actor=None)
    cut_in_background(first.release_id)
    online_loop.end(first, reason="enough", actor=None)
    make_comparisons(3, words="crowd")

    wanted = LoopSettings(fewest_new=10, without_sources=("pears.jsonl",))
    second = online_loop.begin(slot=slot, wanted=wanted, actor=None)

    assert iterations.new_comparisons(second) == 3


def test_the_page_offers_the_imports_and_says_what_was_left_out(slot, pears):
    client = signed_in("administrator")
    asked = client.get(reverse("lab_iterations")).content.decode()
    wanted = {
        "slot": slot.pk, "fewest_new": "50", "pm_preset": "demo", "policy_preset": "demo",
        "policies": "1", "trial_percent": "30", "without_sources": PEARS,
    }  # fmt: skip

    answer = client.post(reverse("begin_iteration"), wanted, follow=True)

    assert "<legend>Leave out imports</legend>" in asked
    assert PEARS in asked
    assert f"Imports left out: {PEARS}." in answer.content.decode()


def test_without_imports_there_is_nothing_to_leave_out(slot):
    assert (
        "Leave out"
        not in signed_in("administrator").get(reverse("lab_iterations")).content.decode()
    )


def test_a_name_that_was_never_imported_is_refused_by_the_command(slot, pears):
    with pytest.raises(CommandError, match="nothing was imported from 'apples'"):
        call_command("iterate", begin="main", without_source=["apples"])
    assert not Iteration.objects.exists()
