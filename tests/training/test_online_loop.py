"""The online loop does each step once, however often and from where it is called, and keeps the record.

Knows rows; no model is trained here.
"""

import threading

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils.timezone import now

from comparisons.models import AuditEntry, DatasetRelease
from comparisons.services.releasing import cut_in_background
from modelserving import promotion
from modelserving.core.evidence import NO_EVIDENCE
from modelserving.models import Deployment
from tests.comparisons.making import make_account, make_deployment
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving
from tests.training.making import end_run, make_comparisons, write_starter
from training import iterations, online_loop, process
from training.iterations import LoopSettings
from training.models import Iteration, TrainingRun, Trial

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.fixture
def engine(settings):
    """A model server that answers."""
    with serving(settings, FakeEngine()):
        yield


@pytest.fixture
def slot(engine):
    return promotion.ensure_slot("main", deployment=make_deployment("first"))


def begin(slot, **wanted):
    return online_loop.begin(slot=slot, wanted=LoopSettings(**wanted), actor=None)


def cut(iteration):
    cut_in_background(iteration.release_id)
    return online_loop.advance(iteration)


def states(iteration):
    iteration.refresh_from_db()
    return {step.key: step.state for step in iterations.steps(iteration)}


def on_trial(slot, *, seeds=(0,), **wanted):
    make_comparisons(30)
    iteration = cut(begin(slot, fewest_new=10, policy_seeds=seeds, **wanted))
    end_run(iteration.runs.get(kind="preference_model"), kind="preference_model")
    online_loop.advance(iteration)
    for run in iteration.runs.filter(kind="ppo"):
        end_run(run, kind="policy")
    return online_loop.advance(iteration)


def test_it_waits_until_there_is_enough_new(slot):
    make_comparisons(3)

    iteration = begin(slot, fewest_new=5)

    assert (iteration.state, iteration.release) == ("waiting", None)
    assert iterations.steps(iteration)[0].outcome.startswith("3 new comparisons, 5 needed")
    assert not TrainingRun.objects.exists()


def test_start_now_takes_what_there_is_and_writes_it_down(slot):
    make_comparisons(3)
    iteration = begin(slot, fewest_new=5)

    online_loop.start_now(iteration, actor=make_account("administrator", name="alex"))

    assert iteration.release.name == "iteration-1"
    assert [(each["step"], each["why"]) for each in iteration.notes] == [
        ("release", "asked for by alex")
    ]


def test_one_iteration_at_a_time(slot):
    begin(slot)

    with pytest.raises(online_loop.LoopRefused, match="Iteration 1 is not over"):
        begin(slot)


def test_the_whole_loop_each_step_once(slot):
    iteration = on_trial(slot, seeds=(0, 1), trial_percent=10)
    for _ in range(3):
        online_loop.advance(iteration)

    assert states(iteration) == {
        "release": "done", "preference_model": "done", "policies": "done", "trial": "running",
        "promotion": "waits",
    }  # fmt: skip
    assert iteration.runs.count() == 3
    pm = iterations.preference_model(iteration)
    assert {run.ranker for run in iterations.policy_runs(iteration)} == {pm}
    assert {
        place.deployment: (place.role, place.traffic) for place in promotion.places_of(slot)
    } == {
        Deployment.objects.get(name="first").pk: ("serving", 81),
        Deployment.objects.get(name="iteration-1-seed0").pk: ("trial", 9),
        Deployment.objects.get(name="iteration-1-seed1").pk: ("trial", 10),
    }
    assert (Trial.objects.count(), iteration.state) == (2, "trial")


def test_a_promotion_ends_the_iteration(slot):
    iteration = on_trial(slot)
    slot.refresh_from_db()

    promotion.promote(
        slot, Trial.objects.get().deployment, evidence=NO_EVIDENCE, is_forced=True,
        expected_generation=slot.generation, reason="looks good",
    )  # fmt: skip
    online_loop.advance(iteration)

    assert iteration.state == "done"
    assert states(iteration)["promotion"] == "done"


def test_it_does_not_promote_without_evidence(slot):
    iteration = on_trial(slot, promotes_by_itself=True)

    assert iteration.state == "trial"
    assert iterations.promoted(iteration) is None


def test_a_policy_that_no_server_answers_for_waits_and_says_so(slot, settings):
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]

    iteration = on_trial(slot)

    assert states(iteration)["trial"] == "waits"
    assert "does not answer" in iteration.notes[-1]["why"]
    assert not Trial.objects.exists()


def test_a_failed_step_waits_for_a_person_and_is_tried_again_once(slot):
    make_comparisons(30)
    iteration = cut(begin(slot, fewest_new=10))
    end_run(iteration.runs.get(), kind="preference_model", state="failed")
    online_loop.advance(iteration)
    assert (states(iteration)["preference_model"], iteration.runs.count()) == ("failed", 1)

    online_loop.retry(iteration, step="preference_model", reason="disk is free again", actor=None)
    with pytest.raises(online_loop.LoopRefused, match="Only a failed"):
        online_loop.retry(iteration, step="preference_model", reason="impatient", actor=None)

    assert iteration.runs.count() == 2
    assert states(iteration)["preference_model"] == "running"
    assert iteration.notes[-1]["why"] == "disk is free again"


def test_ending_asks_its_runs_to_stop_and_says_why(slot):
    make_comparisons(30)
    iteration = cut(begin(slot, fewest_new=10))

    with pytest.raises(online_loop.LoopRefused, match="Say why"):
        online_loop.end(iteration, reason=" ", actor=None)
    online_loop.end(iteration, reason="wrong campaign", actor=None)

    assert (iteration.state, iteration.runs.get().state) == ("cancelled", "stopped")
    assert online_loop.advance(iteration).state == "cancelled"
    assert begin(slot).number == 2


def test_a_run_begun_for_an_iteration_cancelled_meanwhile_is_stopped_at_the_next_look(slot):
    make_comparisons(30)
    iteration = cut(begin(slot, fewest_new=10))
    run = iteration.runs.get()
    # whoever began it was killed before it looked again
    Iteration.objects.filter(pk=iteration.pk).update(state="cancelled", finished_at=now())

    online_loop.advance_all()
    online_loop.advance_all()

    run.refresh_from_db()
    assert run.state == "stopped"
    assert AuditEntry.objects.filter(action="run.stop").count() == 1


def test_the_next_iteration_counts_only_what_is_new(slot):
    make_comparisons(30)
    first = cut(begin(slot, fewest_new=10))
    online_loop.end(first, reason="enough", actor=None)
    make_comparisons(4, words="later")

    second = begin(slot, fewest_new=10)

    assert iterations.new_comparisons(second) == 4
    assert second.release is None


def test_the_command_begins_and_tells_the_steps(slot, capsys):
    make_comparisons(3)

    call_command("iterate", begin="main", fewest_new=5)

    printed = capsys.readouterr().out
    assert "Iteration 1: waiting for comparisons" in printed
    assert "3 new comparisons, 5 needed" in printed
    with pytest.raises(CommandError, match="not over"):
        call_command("iterate", begin="main")
    with pytest.raises(CommandError, match="No slot"):
        call_command("iterate", begin="elsewhere")


@pytest.mark.django_db(transaction=True)
def test_two_that_advance_at_once_do_each_step_once(slot):
    make_comparisons(30)
    iteration = begin(slot, fewest_new=10)
    cut_in_background(iteration.release_id)
    ready = threading.Barrier(2)

    def look():
        ready.wait()
        online_loop.advance(Iteration.objects.get(pk=iteration.pk))
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert TrainingRun.objects.filter(iteration=iteration).count() == 1
    assert DatasetRelease.objects.count() == 1


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_release_that_something_left_is_cut_anew_and_its_preference_model_left_behind(
    slot, is_trained
):
    make_comparisons(30)
    iteration = begin(slot, fewest_new=10)
    old = iteration.release
    if is_trained:
        iteration = cut(iteration)
        first = iteration.runs.get(kind="preference_model")
        DatasetRelease.objects.update(stale_at=now())
        assert online_loop.advance(iteration).release == old  # it waits for the run under way
        end_run(first, kind="preference_model")
    else:
        cut_in_background(old.pk)
        DatasetRelease.objects.update(stale_at=now())

    for _ in range(3):
        online_loop.advance(iteration)
    iteration.refresh_from_db()
    assert iteration.release.name == f"{old.name}-1"
    iteration = cut(iteration)

    newest = iterations.pm_runs(iteration)[0]
    assert (newest.release, newest.state) == (iteration.release, "queued")
    assert iteration.runs.filter(kind="preference_model").count() == (2 if is_trained else 1)
    assert not iteration.runs.filter(kind="ppo").exists()
    assert "were taken out" in iteration.notes[-1]["why"]


def test_policies_refused_for_what_was_taken_out_meanwhile_begin_anew(slot):
    make_comparisons(30)
    iteration = cut(begin(slot, fewest_new=10))
    end_run(iteration.runs.get(kind="preference_model"), kind="preference_model")
    online_loop.advance(iteration)
    first, old = iteration.runs.get(kind="ppo"), iteration.release
    DatasetRelease.objects.update(stale_at=now())
    assert online_loop.advance(iteration).release == old  # it may have begun

    process.execute(first.pk)
    for _ in range(3):
        online_loop.advance(iteration)
    iteration = cut(iteration)
    end_run(iterations.pm_runs(iteration)[0], kind="preference_model")
    online_loop.advance(iteration)

    (again,) = iterations.policy_runs(iteration)
    first.refresh_from_db()
    assert (first.state, again.state) == ("failed", "queued")
    assert (again.release, again.ranker) == (
        iteration.release, iterations.preference_model(iteration),
    )  # fmt: skip
    assert iteration.release.name == f"{old.name}-1"
    assert iteration.runs.count() == 4
