"""What a roll-back does beside its promotion is told: who leaves the slot, and whose share changes."""

import pytest

from modelserving import promotion
from modelserving.core.evidence import NO_EVIDENCE
from modelserving.models import Checkpoint, Deployment
from modelserving.shifts import shifts_of, shifts_of_roll_back, who_left


def make_deployment(name):
    checkpoint = Checkpoint.objects.create(
        hash=f"{name:0>64}", kind="policy", origin="trained", name=name, manifest={}, size=1
    )
    return Deployment.objects.create(name=name, checkpoint=checkpoint)


@pytest.fixture
def slot(db):
    return promotion.ensure_slot("main", deployment=make_deployment("first"))


def told(shifts):
    return {shift.name: (shift.was, shift.becomes, shift.leaves) for shift in shifts}


def test_a_trial_that_came_after_the_promotion_leaves_with_it(slot):
    second, third = make_deployment("second"), make_deployment("third")
    promotion.put_on_trial(slot, second, traffic=30, expected_generation=1)
    promotion.promote(
        slot, second, evidence=NO_EVIDENCE, expected_generation=2, is_forced=True, reason="x"
    )
    promotion.put_on_trial(slot, third, traffic=20, expected_generation=3)

    before = told(shifts_of_roll_back(slot))
    event = promotion.roll_back(slot, expected_generation=4)

    assert before == {
        "first": ("retired", "serving, 70 %", False),
        "second": ("serving, 80 %", "on trial, 30 %", False),
        "third": ("on trial, 20 %", "not in the slot", True),
    }
    assert told(shifts_of(event)) == before
    assert who_left(event) == ["third"]


def test_only_a_roll_back_tells_who_left_and_nothing_to_undo_shifts_nothing(slot):
    second = make_deployment("second")

    event = promotion.promote(
        slot, second, evidence=NO_EVIDENCE, expected_generation=1, is_forced=True, reason="x"
    )
    assert who_left(event) == []
    promotion.roll_back(slot, expected_generation=2)
    assert shifts_of_roll_back(slot) == []
