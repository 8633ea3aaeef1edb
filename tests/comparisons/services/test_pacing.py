"""Both sides of a turn stop, begin anew and are let out together, over engines of unlike pace."""

import threading
import time
from hashlib import sha256

import pytest

from comparisons.models import Turn
from comparisons.services import generating
from tests.comparisons.turns import make_turn, shown, sides, streamed
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_deployment, serving

pytestmark = pytest.mark.django_db(transaction=True)


def test_stop_ends_both_sides_and_what_is_there_is_kept(settings, redis_url):
    engine, turn = FakeEngine(words=60, words_per_second=10), make_turn()

    with serving(settings, engine):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        time.sleep(0.8)
        Turn.objects.filter(pk=turn.pk).update(is_stop_requested=True)
        asked = time.monotonic()
        filling.join()
        waited = time.monotonic() - asked

    turn.refresh_from_db()
    found = sides(turn)
    assert turn.state == "ready"
    assert {r.finish_reason for r in found.values()} == {"stopped"}
    assert all(0 < len(r.text.split()) < 40 for r in found.values())
    assert shown(streamed(turn, redis_url)) == {side: r.text for side, r in found.items()}
    assert waited < 3


def test_stop_cuts_a_side_that_was_whole_where_the_slower_one_was(settings, redis_url):
    slow = FakeEngine(needs_loading=False, words=60, words_per_second=10)
    fast = FakeEngine(needs_loading=False, words=60)
    with serving(settings, slow, fast) as urls:
        deployments = [
            make_deployment(url, endpoint_url=f"{url}/v1", endpoint_model="m") for url in urls
        ]
        turn = make_turn(deployments=deployments)
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        time.sleep(1.5)
        Turn.objects.filter(pk=turn.pk).update(is_stop_requested=True)
        filling.join()

    found = sides(turn)
    turn.refresh_from_db()
    assert turn.state == "ready"
    assert shown(streamed(turn, redis_url)) == {side: r.text for side, r in found.items()}
    assert len(found["A"].text) == len(found["B"].text) > 10
    assert {(r.finish_reason, str(r.token_ids)) for r in found.values()} == {("stopped", "[]")}
    for response in found.values():
        assert response.text_sha256 == sha256(response.text.encode()).hexdigest()


def test_a_side_that_is_written_again_takes_the_other_back_with_it(settings, redis_url):
    breaks = FakeEngine(
        needs_loading=False, mode="crash", fail_times=1, crash_after=12, words_per_second=20
    )
    goes_on = FakeEngine(needs_loading=False, words=30, words_per_second=20)
    with serving(settings, breaks, goes_on) as urls:
        deployments = [
            make_deployment(url, endpoint_url=f"{url}/v1", endpoint_model="m") for url in urls
        ]
        turn = make_turn(deployments=deployments)
        generating.fill_turn(turn.pk)

    events = streamed(turn, redis_url)
    assert [event[:2] for event in events if event[0] == "reset"] == [("reset", "")] * 2
    assert shown(events) == {side: r.text for side, r in sides(turn).items()}
