"""What the online loop leaves behind: one split for all releases, nothing that runs on, a record that does not grow by itself.

Knows rows; no model is trained here.
"""

import pytest
from django.db import DatabaseError

from comparisons.models import DatasetRelease
from modelserving import promotion
from tests.comparisons.making import make_deployment
from tests.training.making import make_comparisons, make_release, write_starter
from training import online_loop
from training.iterations import LoopSettings
from training.models import Iteration, TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.fixture
def slot():
    return promotion.ensure_slot("main", deployment=make_deployment("first"))


def test_its_release_is_split_as_the_one_before(slot):
    make_release("by-hand")  # 30 % to test on
    make_comparisons(12, words="later")

    iteration = online_loop.begin(slot=slot, wanted=LoopSettings(fewest_new=5), actor=None)

    assert iteration.release.name == "iteration-1"
    assert iteration.release.test_percent == 30


def test_the_first_release_has_the_share_that_was_asked_for(slot):
    make_comparisons(12)
    wanted = LoopSettings(fewest_new=5, test_percent=40)

    iteration = online_loop.begin(slot=slot, wanted=wanted, actor=None)

    assert iteration.release.test_percent == 40
    assert DatasetRelease.objects.count() == 1


def test_refusals_that_take_turns_are_written_down_once_each(slot):
    iteration = Iteration.objects.create(number=1, slot=slot)
    online_loop.note(iteration, step="release", what="done", why="r-1")

    for _minute in range(5):
        for why in ("one server is away", "the other server is full"):
            online_loop.note(iteration, step="loop", what="waits", why=why)
    online_loop.note(iteration, step="trial", what="done", why="seed0")
    online_loop.note(iteration, step="loop", what="waits", why="one server is away")

    iteration.refresh_from_db()
    assert [each["why"] for each in iteration.notes] == [
        "r-1", "one server is away", "the other server is full", "seed0", "one server is away",
    ]  # fmt: skip


def test_a_run_that_began_while_the_iteration_was_ended_is_stopped_too(slot):
    iteration = Iteration.objects.create(number=1, slot=slot, state="cancelled")
    late = TrainingRun.objects.create(kind="ppo", config={}, iteration=iteration)

    online_loop.advance(iteration)

    late.refresh_from_db()
    assert late.state == TrainingRun.State.STOPPED


@pytest.mark.parametrize("act", ["start_now", "retry", "end"])
def test_what_cannot_be_audited_does_not_happen(slot, monkeypatch, act):
    release = DatasetRelease.objects.create(name="r-1", state="failed")
    iteration = Iteration.objects.create(number=1, slot=slot, release=release)
    before = Iteration.objects.values().get()
    acts = {
        "start_now": lambda: online_loop.start_now(iteration, actor=None),
        "retry": lambda: online_loop.retry(iteration, step="release", reason="why", actor=None),
        "end": lambda: online_loop.end(iteration, reason="why", actor=None),
    }

    def fails(**_entry):
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(online_loop.audit, "record", fails)
    with pytest.raises(DatabaseError):
        acts[act]()

    assert Iteration.objects.values().get() == before
