"""The lab's pages of checkpoints, slots, the leaderboard, iterations and servers: what may be done, by whom, on which evidence.

Knows pages by address; model servers are fakes that answer.
"""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import AuditEntry
from modelserving import promotion
from modelserving.models import Deployment, PromotionEvent, SlotDeployment
from tests.comparisons.making import (
    make_checkpoint,
    make_comparison,
    make_conversation,
    make_deployment,
)
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving
from tests.training.making import signed_in, text_of
from training.models import Iteration

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_server(settings):
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]


@pytest.fixture
def engine(settings):
    """A model server that answers."""
    with serving(settings, FakeEngine()):
        yield


@pytest.fixture
def slot():
    return promotion.ensure_slot("main", deployment=make_deployment("steady"))


def test_from_checkpoint_to_trial_without_a_restart(slot, engine):
    policy, pm = make_checkpoint(name="it3"), make_checkpoint(kind="preference_model")
    client = signed_in()
    form = {
        "name": "ppo-it3", "temperature": "1", "top_p": "1", "max_new_tokens": "64", "ranker": pm.pk,
        "best_of": "16",
    }  # fmt: skip

    client.post(reverse("make_deployment", args=[policy.hash]), form)
    made = Deployment.objects.get(name="ppo-it3")
    client.post(reverse("put_on_trial", args=[made.pk]), {"slot": slot.pk, "traffic": "30"})

    assert (made.checkpoint, made.ranker, made.best_of) == (policy, pm, 16)
    places = {place.deployment_id: (place.role, place.traffic) for place in slot.places.all()}
    assert places[made.pk] == ("trial", 30)
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"deployment.create", "slot.trial"} <= actions


def test_a_trial_is_offered_in_slots_that_the_deployment_takes_no_part_in(slot):
    made = make_deployment("new")
    other = promotion.ensure_slot("other", deployment=Deployment.objects.get(name="steady"))
    client, address = signed_in(), reverse("checkpoint", args=[made.checkpoint.hash])

    def offered() -> list[str]:
        ((_made, form),) = client.get(address).context["deployments"]
        return [] if form is None else [str(each) for each in form.fields["slot"].queryset]

    before = offered()
    promotion.put_on_trial(slot, made, traffic=30, expected_generation=slot.generation)
    after = offered()
    promotion.put_on_trial(other, made, traffic=30, expected_generation=other.generation)

    assert (before, after, offered()) == (["main", "other"], ["other"], [])
    assert "It takes part in every slot already." in text_of(client.get(address))


def test_a_preference_model_leads_to_a_policy_trained_against_it():
    make_checkpoint(kind="preference_model", name="older")
    pm = make_checkpoint(kind="preference_model", name="pm")
    make_checkpoint(kind="preference_model", name="newer")
    client = signed_in()

    page = client.get(reverse("checkpoint", args=[pm.hash])).content.decode()
    link = reverse("new_run") + f"?kind=ppo&ranker={pm.hash}"
    form = client.get(link).context["form"]

    assert f'href="{link.replace("&", "&amp;")}">Train a policy against this</a>' in page
    assert form["ranker"].value() == pm.pk


def test_a_deployment_that_cannot_work_is_refused_in_words(slot):
    policy = make_checkpoint()
    form = {"name": "x", "temperature": "1", "top_p": "1", "max_new_tokens": "64", "best_of": "4"}

    response = signed_in().post(reverse("make_deployment", args=[policy.hash]), form)

    assert response.status_code == 400
    assert 'role="alert"' in text_of(response)
    assert not Deployment.objects.filter(name="x").exists()


def choose(winner: Deployment, loser: Deployment, *, times: int) -> None:
    for number in range(times):
        conversation = make_conversation(first=f"{winner} {number}")
        make_comparison(
            conversation, picked_by=winner, other_by=loser, picked=f"a{number}", other=f"b{number}"
        )


def test_promotion_needs_evidence_or_an_administrators_reason(slot, engine):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    promotion.put_on_trial(slot, new, traffic=50, expected_generation=slot.generation)
    address = reverse("promote", args=[slot.pk, new.pk])
    admin = signed_in("administrator")
    seen = {"generation": slot.generation}

    assert signed_in().get(address).status_code == 404  # researchers do not promote
    page = text_of(admin.get(address))
    assert "too few" in page
    measured = reverse("checkpoint", args=[new.checkpoint.hash])
    assert measured in page
    assert admin.get(measured).status_code == 200
    assert admin.post(address, seen).status_code == 409
    assert admin.post(address, seen | {"is_forced": "true", "reason": " "}).status_code == 409
    assert (
        admin.post(address, {"generation": 0, "is_forced": "true", "reason": "x"}).status_code
        == 409
    )
    assert not PromotionEvent.objects.filter(deployment=new, kind="promote").exists()

    answer = admin.post(address, seen | {"is_forced": "true", "reason": "the old one is broken"})

    assert answer["Location"] == reverse("slot", args=[slot.pk])
    event = PromotionEvent.objects.get(deployment=new, kind="promote")
    assert (event.reason, event.evidence["is_forced"], event.previous) == (
        "the old one is broken", True, steady,
    )  # fmt: skip
    slot.refresh_from_db()
    admin.post(reverse("roll_back", args=[slot.pk]), {"generation": slot.generation})
    assert slot.places.get(role="serving").deployment == steady


def test_a_roll_back_says_which_later_trial_leaves_the_slot(slot):
    new, later = make_deployment("new"), make_deployment("later")
    promotion.promote(
        slot, new, evidence=promotion.NO_EVIDENCE, expected_generation=slot.generation,
        is_forced=True, reason="x",
    )  # fmt: skip
    promotion.put_on_trial(slot, later, traffic=20, expected_generation=slot.generation)
    admin, address = signed_in("administrator"), reverse("roll_back", args=[slot.pk])

    asked = text_of(admin.get(address))
    done = text_of(admin.post(address, {"generation": slot.generation}, follow=True))

    assert "<td>later</td><td>on trial, 20 %</td><td>not in the slot: <strong>it leaves" in asked
    assert "Left the slot: new, later." in done
    assert "left the slot: new, later" in done  # in the history, for whoever comes afterwards


def test_shares_change_and_deployments_retire_by_compare_and_swap(slot):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    promotion.put_on_trial(slot, new, traffic=50, expected_generation=slot.generation)
    admin, address = signed_in("administrator"), reverse("set_traffic", args=[slot.pk])
    shares = {f"traffic-{steady.pk}": 80, f"traffic-{new.pk}": 20, "generation": slot.generation}

    def places():
        return {place.deployment.name: (place.role, place.traffic) for place in slot.places.all()}

    assert signed_in().post(address, shares).status_code == 404
    admin.post(address, shares | {f"traffic-{new.pk}": 30})  # 110 in all
    admin.post(address, shares | {"generation": 0})  # of a page that is out of date
    assert places() == {"steady": ("serving", 50), "new": ("trial", 50)}
    admin.post(address, shares)
    assert places() == {"steady": ("serving", 80), "new": ("trial", 20)}
    slot.refresh_from_db()
    admin.post(reverse("retire", args=[slot.pk, new.pk]), {"generation": slot.generation})
    assert places() == {"steady": ("serving", 100), "new": ("retired", 0)}
    slot.refresh_from_db()
    admin.post(reverse("retire", args=[slot.pk, steady.pk]), {"generation": slot.generation})
    assert places()["steady"] == ("serving", 100)  # somebody must serve


def test_clear_evidence_promotes_without_force(slot, engine):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    promotion.put_on_trial(slot, new, traffic=50, expected_generation=slot.generation)
    choose(new, steady, times=90)
    choose(steady, new, times=20)
    admin = signed_in("administrator")
    address = reverse("promote", args=[slot.pk, new.pk])

    assert "✓ met" in text_of(admin.get(address))
    admin.post(address, {"generation": slot.generation})

    event = PromotionEvent.objects.get(deployment=new, kind="promote")
    assert event.evidence["is_forced"] is False
    assert event.evidence["figures"]["helpful"]["n"] == 110


def test_the_leaderboard_gives_n_and_intervals_and_keeps_objectives_apart(slot):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    choose(new, steady, times=3)
    choose(steady, new, times=2)

    page = text_of(signed_in().get(reverse("leaderboard")))
    harmless = text_of(signed_in().get(reverse("leaderboard") + "?objective=harmless"))

    assert "Fitted on 5 choices from 5 conversations." in page
    assert page.count("no interval: 5 conversations, 10 needed") == 2
    assert '<line class="interval"' not in page
    assert "Fewer than 100 choices: not ranked" in page
    assert "No choice between two deployments yet" in harmless


def test_a_place_says_since_when_it_has_its_role_and_serving_comes_first(slot):
    trial = make_deployment("new")
    promotion.put_on_trial(slot, trial, traffic=30, expected_generation=slot.generation)
    days = {event.kind: now() - timedelta(days=9 - event.generation) for event in slot.events.all()}
    for event in slot.events.all():
        PromotionEvent.objects.filter(pk=event.pk).update(at=days[event.kind])

    client = signed_in()
    client.get(reverse("lab_slots"))
    shown = client.get(reverse("slot", args=[slot.pk])).context["places"]
    SlotDeployment.objects.filter(role="serving").update(role="retired", traffic=0)
    swapped = client.get(reverse("slot", args=[slot.pk])).context["places"]

    assert [(each.role, each.since) for each in shown] == [
        ("serving", days["promote"]), ("trial", days["trial"]),
    ]  # fmt: skip
    assert [each.role for each in swapped] == ["trial", "retired"]


def test_the_leaderboard_counts_in_the_singular_and_says_what_it_left_out(slot):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    choose(new, steady, times=1)
    choose(new, new, times=2)

    page = text_of(signed_in().get(reverse("leaderboard")))

    assert "Fitted on 1 choice from 1 conversation." in page
    assert "Left out: 2 between a deployment and itself." in page


def test_who_never_lost_gets_words_instead_of_a_number_of_the_prior(slot):
    steady, new = Deployment.objects.get(name="steady"), make_deployment("new")
    never = make_deployment("unbeaten")
    choose(new, steady, times=3)
    choose(steady, new, times=2)
    choose(never, steady, times=4)

    response = signed_in().get(reverse("leaderboard"))

    assert "never lost: no bound" in text_of(response)
    assert [row.name for row in response.context["dots"].rows] == ["new", "steady"]


def test_iterations_are_begun_by_administrators_and_seen_by_researchers(slot):
    form = {
        "slot": slot.pk, "fewest_new": "500", "pm_preset": "demo", "policy_preset": "demo",
        "policies": "2", "trial_percent": "10",
    }  # fmt: skip

    assert signed_in().post(reverse("begin_iteration"), form).status_code == 404
    admin = signed_in("administrator")
    answer = admin.post(reverse("begin_iteration"), form)
    again = admin.post(reverse("begin_iteration"), form)

    assert answer["Location"] == reverse("iteration", args=[1])
    assert "Iteration 1 is not over" in text_of(again)
    assert Iteration.objects.get().settings["policy_seeds"] == [0, 1]
    page = text_of(signed_in().get(reverse("iteration", args=[1])))
    assert "0 new comparisons, 500 needed. Starts by itself then." in page
    assert "Start now" not in page
    assert "Start now" in text_of(admin.get(reverse("iteration", args=[1])))


def test_a_model_server_that_is_away_is_said(slot):
    page = text_of(signed_in().get(reverse("lab_servers")))

    assert "http://127.0.0.1:9: no answer" in page
