"""Servers have what slots draw from before anybody asks."""

import pytest

from modelserving import promotion
from modelserving.models import Checkpoint
from modelserving.warming import warm_servers
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_checkpoint, make_deployment, make_ranked, serving

pytestmark = pytest.mark.django_db


def test_warm_servers_loads_what_is_drawn_once_and_nothing_else(settings):
    served, ranked = make_deployment("served"), make_ranked("ranked")
    make_deployment("idle")
    slot = promotion.ensure_slot("main", deployment=served)
    promotion.put_on_trial(slot, ranked, traffic=10, expected_generation=1)
    engine = FakeEngine(memory_bytes=100)

    with serving(settings, engine):
        loaded = warm_servers()
        again = warm_servers()

    wanted = {served.checkpoint.hash, ranked.checkpoint.hash, ranked.ranker.hash}
    assert engine.loaded == wanted
    assert (len(loaded), again) == (3, [])


def test_warm_servers_never_pushes_anything_out(settings):
    promotion.ensure_slot("main", deployment=make_deployment("served"))
    big = make_checkpoint("served")
    big.size = 50
    big.save(update_fields=["size"])
    engine = FakeEngine(memory_bytes=100)

    with serving(settings, engine):
        warm_servers()

    assert engine.loads == []


def test_warm_servers_leaves_a_server_that_is_away(settings):
    promotion.ensure_slot("main", deployment=make_deployment("served"))
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]

    assert warm_servers() == []


def test_warm_servers_counts_the_base_of_an_adapter_once(settings):
    base = make_checkpoint("base")
    base.size = 20
    base.save(update_fields=["size"])
    first, second = make_deployment("first"), make_deployment("second")
    Checkpoint.objects.filter(deployments__in=[first, second]).update(base=base)
    slot = promotion.ensure_slot("main", deployment=first)
    promotion.put_on_trial(slot, second, traffic=10, expected_generation=1)
    small, large = FakeEngine(memory_bytes=60), FakeEngine(memory_bytes=66)

    with serving(settings, small):
        warm_servers()
    with serving(settings, large):
        warm_servers()

    assert small.loads == []  # 3 × (20 + 1) do not fit into 60
    assert len(large.loads) == 2
