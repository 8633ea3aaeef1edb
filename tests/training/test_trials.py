"""Changes of a slot and what the audit says of them: both, or neither."""

import pytest

from comparisons.models import AuditEntry
from comparisons.services import audit
from modelserving import promotion
from modelserving.models import Deployment, PromotionEvent, Slot
from tests.comparisons.making import make_deployment
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving
from training import trials

pytestmark = pytest.mark.django_db

CHANGES = ["put_on_trial", "promote", "roll_back", "retire", "set_traffic"]


@pytest.fixture(autouse=True)
def engine(settings):
    """A model server that answers."""
    with serving(settings, FakeEngine()):
        yield


def slot_before(change: str) -> Slot:
    """A slot that the change is possible for."""
    steady, other = make_deployment("steady"), make_deployment("other")
    slot = promotion.ensure_slot("main", deployment=steady)
    if change != "put_on_trial":
        trials.put_on_trial(slot, other, traffic=30, actor=None, reason="")
    if change == "roll_back":
        do("promote", slot)
    return slot


def do(change: str, slot: Slot) -> PromotionEvent:
    steady, other = (Deployment.objects.get(name=name) for name in ("steady", "other"))
    how = {"actor": None, "reason": "why not"}
    seen = {**how, "expected_generation": slot.generation}
    changes = {
        "put_on_trial": lambda: trials.put_on_trial(slot, other, traffic=30, **how),
        "promote": lambda: trials.promote(slot, other, is_forced=True, **seen),
        "roll_back": lambda: trials.roll_back(slot, **seen),
        "retire": lambda: trials.retire(slot, other, **seen),
        "set_traffic": lambda: trials.set_traffic(slot, {steady.pk: 60, other.pk: 40}, **seen),
    }
    return changes[change]()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_in_the_audit(change):
    slot = slot_before(change)

    event = do(change, slot)

    entry = AuditEntry.objects.order_by("-pk").first()
    assert (entry.action, entry.detail["generation"]) == (f"slot.{event.kind}", slot.generation)


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_audit_does_not_take_is_not_done(change, monkeypatch):
    class Full(Exception):
        pass

    def full(**_):
        raise Full

    slot = slot_before(change)
    places, events = promotion.places_of(slot), slot.events.count()
    monkeypatch.setattr(audit, "record", full)

    with pytest.raises(Full):
        do(change, slot)

    assert promotion.places_of(slot) == places
    assert slot.events.count() == events
    assert Slot.objects.get().generation == events
