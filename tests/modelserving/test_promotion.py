"""A slot changes by compare-and-swap: one winner, one event per generation, and a way back."""

import threading

import pytest
from django.db import connection

from modelserving import promotion
from modelserving.core.evidence import NO_EVIDENCE, Evidence, at_least
from modelserving.core.traffic import Place, PlacesError
from modelserving.models import Checkpoint, Deployment, PromotionEvent, Slot
from modelserving.promotion import GateNotMet, NothingToRollBack, PromotionRace

MET = Evidence(conditions=(at_least("wins over serving", found=0.6, bound=0.5, n=80, fewest=50),))


def make_deployment(name):
    checkpoint, _ = Checkpoint.objects.get_or_create(
        hash=f"{name:0>64}", kind="policy", origin="trained", name=name, manifest={}, size=1
    )
    return Deployment.objects.create(name=name, checkpoint=checkpoint)


@pytest.fixture
def slot(db):
    return promotion.ensure_slot("main", deployment=make_deployment("first"))


def places(slot):
    names = dict(Deployment.objects.values_list("pk", "name"))
    return {names[p.deployment]: (p.role, p.traffic) for p in promotion.places_of(slot)}


def test_ensure_slot_makes_it_once_and_serves_all_of_it(db):
    first = make_deployment("first")

    slots = [promotion.ensure_slot("main", deployment=first) for _ in range(2)]

    assert slots[0] == slots[1]
    assert (slots[1].generation, places(slots[1])) == (1, {"first": ("serving", 100)})
    assert [event.kind for event in slots[0].events.all()] == ["promote"]


def test_a_trial_takes_its_share_and_the_others_give_way(slot):
    event = promotion.put_on_trial(
        slot, make_deployment("second"), traffic=30, expected_generation=1
    )

    assert places(slot) == {"first": ("serving", 70), "second": ("trial", 30)}
    assert (event.generation, event.kind, slot.generation) == (2, "trial", 2)
    assert sum(place["traffic"] for place in event.after) == 100


def test_promote_hands_over_traffic_and_keeps_the_old_one_for_a_roll_back(slot):
    second = make_deployment("second")
    promotion.put_on_trial(slot, second, traffic=30, expected_generation=1)

    event = promotion.promote(slot, second, evidence=MET, expected_generation=2)

    assert places(slot) == {"first": ("retired", 0), "second": ("serving", 100)}
    assert event.previous.name == "first"
    assert event.evidence["conditions"][0]["standing"] == "met"


def test_roll_back_restores_the_places_exactly_and_can_go_back_further(slot):
    second, third = make_deployment("second"), make_deployment("third")
    promotion.put_on_trial(slot, second, traffic=30, expected_generation=1)
    before_second = promotion.places_of(slot)
    promotion.promote(slot, second, evidence=MET, expected_generation=2)
    before_third = promotion.places_of(slot)
    promotion.promote(slot, third, evidence=MET, expected_generation=3)

    promotion.roll_back(slot, expected_generation=4, reason="worse")
    after_one = promotion.places_of(slot)
    event = promotion.roll_back(slot, expected_generation=5, reason="still worse")

    assert after_one == before_third
    assert promotion.places_of(slot) == before_second
    assert (event.deployment.name, event.previous.name) == ("first", "second")
    with pytest.raises(NothingToRollBack):
        promotion.roll_back(slot, expected_generation=6)
    assert PromotionEvent.objects.filter(slot=slot).count() == slot.generation == 6


@pytest.mark.parametrize(
    "evidence",
    [
        NO_EVIDENCE,
        Evidence(conditions=(at_least("accuracy", found=0.4, bound=0.5),)),
        Evidence(conditions=(at_least("accuracy", found=0.9, bound=0.5, n=3, fewest=50),)),
        Evidence(conditions=(at_least("accuracy", found=float("inf"), bound=0.5),)),
        Evidence(conditions=(at_least("accuracy", found=None, bound=0.5),)),
    ],
)
def test_promote_without_the_evidence_changes_nothing(slot, evidence):
    with pytest.raises(GateNotMet):
        promotion.promote(slot, make_deployment("second"), evidence=evidence, expected_generation=1)

    slot.refresh_from_db()
    assert (slot.generation, places(slot)) == (1, {"first": ("serving", 100)})


def test_a_forced_promotion_needs_a_reason_and_records_it(slot):
    second = make_deployment("second")
    with pytest.raises(GateNotMet, match="reason"):
        promotion.promote(
            slot, second, evidence=NO_EVIDENCE, expected_generation=1, is_forced=True, reason=" "
        )

    event = promotion.promote(
        slot, second, evidence=NO_EVIDENCE, expected_generation=1, is_forced=True, reason="demo"
    )

    assert (event.evidence["is_forced"], event.reason) == (True, "demo")


def test_retire_shares_the_traffic_and_never_leaves_the_slot_empty(slot):
    second = make_deployment("second")
    promotion.put_on_trial(slot, second, traffic=25, expected_generation=1)

    promotion.retire(slot, second, expected_generation=2)

    assert places(slot) == {"first": ("serving", 100), "second": ("retired", 0)}
    first = Deployment.objects.get(name="first")
    with pytest.raises(PlacesError):
        promotion.retire(slot, first, expected_generation=3)
    slot.refresh_from_db()
    assert slot.generation == 3


def test_set_traffic_names_every_active_deployment_and_sums_to_100(slot):
    first, second = Deployment.objects.get(name="first"), make_deployment("second")
    promotion.put_on_trial(slot, second, traffic=25, expected_generation=1)

    promotion.set_traffic(slot, second, shares={first.pk: 50, second.pk: 50}, expected_generation=2)

    assert places(slot) == {"first": ("serving", 50), "second": ("trial", 50)}
    for shares in ({first.pk: 60, second.pk: 50}, {first.pk: 100}):
        with pytest.raises(PlacesError):
            promotion.set_traffic(slot, second, shares=shares, expected_generation=3)


def test_a_stale_generation_loses(slot):
    promotion.put_on_trial(slot, make_deployment("second"), traffic=10, expected_generation=1)

    with pytest.raises(PromotionRace):
        promotion.put_on_trial(slot, make_deployment("third"), traffic=10, expected_generation=1)

    assert places(slot) == {"first": ("serving", 90), "second": ("trial", 10)}


@pytest.mark.django_db(transaction=True)
def test_of_eight_promotions_at_once_one_wins():
    slot = promotion.ensure_slot("main", deployment=make_deployment("first"))
    rivals = [make_deployment(f"rival {number}") for number in range(8)]
    barrier, outcomes = threading.Barrier(8), []

    def rival(deployment):
        barrier.wait()
        try:
            promotion.promote(
                Slot.objects.get(pk=slot.pk), deployment, evidence=MET, expected_generation=1
            )
            outcomes.append(deployment.name)
        except PromotionRace:
            outcomes.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=rival, args=(each,)) for each in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winner = [outcome for outcome in outcomes if outcome]
    assert (len(outcomes), len(winner)) == (8, 1)
    assert PromotionEvent.objects.filter(slot=slot, generation=2).count() == 1
    assert places(slot) == {"first": ("retired", 0), winner[0]: ("serving", 100)}


def test_places_survive_json(slot):
    event = slot.events.get()

    assert [Place(**place) for place in event.after] == promotion.places_of(slot)
