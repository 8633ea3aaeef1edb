"""Only the present attempt writes a turn; leases are taken once, kept, and run out."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from comparisons.models import Turn
from comparisons.services import generating, turn_leases
from tests.comparisons.turns import completion, expire_lease, make_turn, sides, streamed
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_deployment, serving

pytestmark = pytest.mark.django_db(transaction=True)


def test_writes_of_an_attempt_that_was_overtaken_are_rejected():
    turn = make_turn()
    old = turn_leases.claim(turn.pk)
    assert turn_leases.claim(turn.pk) is None
    expire_lease(turn)

    new = turn_leases.claim(turn.pk)

    assert (old.attempt, new.attempt) == (1, 2)
    assert turn_leases.store(old, side="A", completion=completion("old")) is None
    assert turn_leases.fail(old, side="B", reason="old") is None
    turn_leases.renew([old])
    turn_leases.release(old)
    assert turn_leases.claim(turn.pk) is None
    assert turn_leases.store(new, side="A", completion=completion("new")) == "generating"
    assert turn_leases.store(new, side="A", completion=completion("twice")) is None
    assert turn_leases.store(new, side="B", completion=completion("new")) == "ready"
    assert {r.text for r in sides(turn).values()} == {"new"}


def test_of_eight_claims_at_once_one_wins():
    turn, barrier, won = make_turn(), threading.Barrier(8), []

    def rival():
        barrier.wait()
        won.append(turn_leases.claim(turn.pk))
        connection.close()

    threads = [threading.Thread(target=rival) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(lease.attempt for lease in won if lease) == [1]


def test_a_turn_is_given_up_after_too_many_attempts(redis_url):
    turn = make_turn()
    for _ in range(turn_leases.MOST_ATTEMPTS):
        assert not turn_leases.claim(turn.pk).is_worn_out
        expire_lease(turn)

    generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert turn.state == "failed"
    assert {r.failure for r in sides(turn).values()} == {"given up after too many attempts"}
    assert streamed(turn, redis_url)[-1][:2] == ("failed", "")


def test_reconcile_rings_for_forsaken_turns_only(monkeypatch):
    rung = []
    monkeypatch.setattr(
        generating.tasks.fill_turn,
        "apply_async",
        lambda kwargs, **_: rung.append(kwargs["turn_id"]),
    )
    deployments = (make_deployment("policy-one"), make_deployment("policy-two"))
    fresh, old, leased, expired, ready = (make_turn(deployments=deployments) for _ in range(5))
    Turn.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(seconds=6))
    for turn in (leased, expired, ready):
        turn_leases.claim(turn.pk)
    expire_lease(expired)
    Turn.objects.filter(pk=ready.pk).update(state="ready", lease_until=None)

    assert generating.reconcile_turns() == 2

    assert sorted(rung) == [old.pk, expired.pk]
    assert fresh.pk not in rung


def test_the_lease_is_kept_while_words_come(settings, redis_url, monkeypatch):
    monkeypatch.setattr("comparisons.services.keeping.RENEW_SECONDS", 0.2)
    monkeypatch.setattr(turn_leases, "LEASE", timedelta(seconds=1.2))
    engine, turn = FakeEngine(words=30, words_per_second=10), make_turn()

    with serving(settings, engine):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        time.sleep(2.0)
        rival = turn_leases.claim(turn.pk)
        filling.join()

    turn.refresh_from_db()
    assert rival is None
    assert (turn.state, turn.attempt) == ("ready", 1)
