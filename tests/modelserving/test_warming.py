"""Servers have what slots draw from before anybody asks."""

import asyncio
import threading
import time

import pytest
from django.db import connections

from modelserving import presence, promotion
from modelserving.models import Checkpoint
from modelserving.redis_away import brief_client
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


class LoadsWhenTold(FakeEngine):
    """Takes as long for a load as the test wants."""

    may_load = threading.Event()

    async def _load(self, content, exchange) -> None:
        self.loads.append(content)
        await asyncio.to_thread(self.may_load.wait)
        self.loaded.add(content["name"])
        await exchange.reply({"name": content["name"], "hash": content["name"]})


@pytest.mark.django_db(transaction=True)
def test_while_one_ring_loads_the_others_note_who_is_ready_and_go(settings, redis_url):
    promotion.ensure_slot("main", deployment=make_deployment("served"))
    engine = LoadsWhenTold()
    rings = [threading.Thread(target=ring) for _number in range(2)]

    with serving(settings, engine):
        rings[0].start()
        while not engine.loads:
            time.sleep(0.01)
        with brief_client() as client:
            client.delete(presence.LOOKED, presence.READY)  # as they fade within a minute
        rings[1].start()
        rings[1].join(20)
        is_free, seen = not rings[1].is_alive(), presence.presence()
        engine.may_load.set()
        for each in rings:
            each.join()

        assert (is_free, seen.is_looked_after, seen.is_ready) == (True, True, True)
        assert len(engine.loads) == 1

        engine.loaded.clear()
        assert len(warm_servers()) == 1  # whoever comes next may load


def ring() -> None:
    """As a worker's thread is rung for."""
    warm_servers()
    connections.close_all()
