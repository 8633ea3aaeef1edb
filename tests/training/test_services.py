"""Starting a run refuses what cannot run, with the cure; the lease lets one worker have it, and takes it back.

Knows rows; no process is started here.
"""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from comparisons.models import AuditEntry, DatasetRelease
from modelserving.models import Checkpoint
from tests.comparisons.making import make_account, make_checkpoint
from tests.training.making import make_release, write_starter
from training import leases, services
from training.models import TrainingRun
from training.services import RunRefused, RunRequest, find_checkpoint, request_stop, start_run
from training.web.forms import NewRunForm

State = TrainingRun.State


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


def make_run(**values) -> TrainingRun:
    return TrainingRun.objects.create(
        kind="preference_model", config={"kind": "preference_model"}, **values
    )


def lapse(run) -> None:
    """The lease ends, as it does 60 s after the last heartbeat."""
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))


@pytest.mark.django_db
def test_start_stores_the_whole_request_and_its_audit_entry():
    release, rowan = make_release(), make_account("researcher", name="rowan")
    request = RunRequest(
        kind="preference_model", release=release, overrides={"learning_rate": "1e-5"}, name="pm"
    )

    run = start_run(request, requested_by=rowan)

    assert (run.state, run.attempt, run.requested_by) == (State.QUEUED, 0, rowan)
    assert run.config["learning_rate"] == 1e-5
    assert run.initial.origin == Checkpoint.Origin.STARTER
    entry = AuditEntry.objects.get(action="run.start")
    assert (entry.actor, entry.object_id) == (rowan, str(run.public_id))


@pytest.mark.django_db
def test_ppo_takes_the_newest_preference_model():
    release = make_release()
    make_checkpoint(kind="preference_model")
    newest = make_checkpoint(kind="preference_model")

    run = start_run(RunRequest(kind="ppo", release=release), requested_by=None)

    assert run.ranker == newest


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["preference_model", "evaluation"])
def test_a_preference_model_is_trained_further_or_measured(kind):
    pretrained = make_checkpoint(kind="preference_model")
    request = RunRequest(kind=kind, release=make_release(), initial=pretrained)

    assert start_run(request, requested_by=None).initial == pretrained


REFUSED = [
    ({"kind": "sorcery"}, "kind is 'sorcery'"),
    ({"kind": "preference_model", "preset": "huge"}, "choose one of demo, small, paper"),
    ({"kind": "preference_model", "overrides": {"lerning_rate": "1"}}, "learning_rate"),
    ({"kind": "preference_model", "overrides": {"learning_rate": "fast"}}, "learning_rate"),
    ({"kind": "preference_model", "release": None}, "cut one, then choose it here"),
    ({"kind": "language_model", "initial": "preference_model"}, "start from a language model"),
    ({"kind": "ppo", "initial": "preference_model"}, "start from a language model"),
    (
        {"kind": "context_distillation"},
        r"training\.core\.new_run RUN_DIR --kind context_distillation .* --input corpus=PATH",
    ),
    (
        {"kind": "preference_pretraining"},
        r"training\.core\.new_run RUN_DIR --kind preference_pretraining .* --input answers=PATH",
    ),
    ({"kind": "ppo"}, "train one first"),
    ({"kind": "ppo", "ranker": "policy"}, "not a preference model"),
    (
        {"kind": "ppo", "ranker": "preference_model", "overrides": {"stop_on_divergence": "1"}},
        "stop_on_divergence is 1, .* choose a test PM, or set it to 0",
    ),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "says"), REFUSED)
def test_what_cannot_run_is_refused_before_anything_is_stored(asked, says):
    checkpoints = {
        role: make_checkpoint(kind=asked[role]) for role in ("initial", "ranker") if role in asked
    }
    release = make_release()

    with pytest.raises(RunRefused, match=says):
        start_run(RunRequest(**({"release": release} | asked | checkpoints)), requested_by=None)

    assert not TrainingRun.objects.exists()


@pytest.mark.django_db
def test_a_release_that_is_not_frozen_or_has_no_test_split_is_refused():
    cutting = DatasetRelease.objects.create(name="r2", state="cutting", test_percent=20)
    untested = DatasetRelease.objects.create(
        name="r3", state="frozen", test_percent=0, counts={"train": 9, "test": 0}
    )

    for release, says in ((cutting, "is not frozen"), (untested, "both are needed")):
        with pytest.raises(RunRefused, match=says):
            start_run(RunRequest(kind="preference_model", release=release), requested_by=None)


@pytest.mark.django_db
def test_the_same_request_key_gives_the_same_run():
    request = RunRequest(kind="preference_model", release=make_release(), request_key=uuid.uuid4())

    assert start_run(request, requested_by=None) == start_run(request, requested_by=None)
    assert AuditEntry.objects.filter(action="run.start").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_refuses_nothing(caplog):
    run = start_run(RunRequest(kind="preference_model", release=make_release()), requested_by=None)

    assert run.state == State.QUEUED
    assert "Redis is away" in caplog.text
    assert leases.waiting() == [run.pk]


@pytest.mark.django_db
def test_checkpoints_are_found_by_name_hash_and_word():
    old, new = make_checkpoint(name="it1"), make_checkpoint(name="it2", kind="preference_model")

    assert find_checkpoint("it1") == old
    assert find_checkpoint(new.hash[:8]) == new
    assert find_checkpoint("latest") == new
    assert find_checkpoint("starter").origin == Checkpoint.Origin.STARTER
    with pytest.raises(RunRefused, match="There is no preference model 'it1'"):
        find_checkpoint("it1", kind="preference_model")
    make_checkpoint(name="it1")
    with pytest.raises(RunRefused, match=r"Several are named 'it1': give the beginning of a hash"):
        find_checkpoint("it1")


@pytest.mark.django_db
def test_stop_ends_a_run_that_has_not_begun_and_asks_one_that_has():
    fresh, going, interrupted = make_run(), make_run(), make_run()
    leases.claim(going.pk, owner="a")
    leases.give_back(leases.claim(interrupted.pk, owner="a"), reason="deploy", counts=False)

    for run in (fresh, going, interrupted):
        request_stop(run, actor=None)
        run.refresh_from_db()

    assert [(run.state, run.is_stop_requested) for run in (fresh, going, interrupted)] == [
        (State.STOPPED, False), (State.RUNNING, True), (State.QUEUED, True),
    ]  # fmt: skip
    assert fresh.finished_at is not None


@pytest.mark.django_db
def test_a_run_that_waits_for_room_is_taken_again_after_a_while():
    run = make_run()
    leases.give_back(
        leases.claim(run.pk, owner="a"), reason="full", counts=False, wait=timedelta(minutes=1)
    )

    assert leases.claim(run.pk, owner="b") is None
    assert leases.waiting() == []
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert leases.waiting() == [run.pk]
    assert leases.claim(run.pk, owner="b").attempt == 2


@pytest.mark.django_db
def test_a_run_is_claimed_once_and_again_only_after_its_lease():
    run = make_run()

    first = leases.claim(run.pk, owner="a")
    second = leases.claim(run.pk, owner="b")
    lapse(run)
    third = leases.claim(run.pk, owner="c")

    assert (first.attempt, second, third.attempt, third.lease_owner) == (1, None, 2, "c")
    assert leases.claim(999_999, owner="a") is None  # a forged message


@pytest.mark.django_db
def test_an_attempt_that_was_taken_over_can_write_nothing():
    run = make_run()
    zombie = leases.claim(run.pk, owner="a")
    lapse(run)
    leases.claim(run.pk, owner="b")
    before = TrainingRun.objects.filter(pk=run.pk).values().get()

    with leases.kept(zombie) as is_ours:
        assert is_ours is False
    written = [
        leases.extend(zombie, progress={"step": 9}),
        leases.give_back(zombie, reason="crash", counts=True),
        leases.end(zombie, state=State.DONE, results={"accuracy": 1}),
    ]

    assert written == [False, False, False]
    assert TrainingRun.objects.filter(pk=run.pk).values().get() == before


@pytest.mark.django_db
def test_ended_runs_stay_ended():
    run = make_run()
    claimed = leases.claim(run.pk, owner="a")
    leases.end(claimed, state=State.DONE)

    assert leases.end(claimed, state=State.FAILED) is False
    assert leases.claim(run.pk, owner="b") is None
    assert leases.waiting() == []


@pytest.mark.django_db
def test_a_run_that_kills_every_worker_fails_with_a_reason():
    run = make_run(max_attempts=2)
    for owner in "ab":
        leases.claim(run.pk, owner=owner)
        lapse(run)
    assert leases.claim(run.pk, owner="c") is None

    services.ring_for_waiting_runs()
    run.refresh_from_db()

    assert (run.state, run.attempt) == (State.FAILED, 2)
    assert run.reason.startswith("Every attempt ended without a result")


@pytest.mark.django_db
def test_an_interruption_does_not_use_up_an_attempt():
    run = make_run(max_attempts=2)

    for counts in (False, True):
        leases.give_back(leases.claim(run.pk, owner="a"), reason="", counts=counts)
    run.refresh_from_db()

    assert (run.attempt, run.max_attempts) == (2, 3)
    assert leases.claim(run.pk, owner="b") is not None


@pytest.mark.django_db(transaction=True)
def test_of_eight_workers_one_gets_the_run():
    rounds, workers = 5, 8
    runs = [make_run() for _ in range(rounds)]
    barrier, taken = threading.Barrier(workers), []

    def work(owner: str) -> None:
        for run in runs:
            barrier.wait()
            claimed = leases.claim(run.pk, owner=owner)
            if claimed is not None:
                taken.append((run.pk, claimed.lease_owner, claimed.attempt))
        connection.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(pk for pk, _, _ in taken) == [run.pk for run in runs]
    assert {attempt for _, _, attempt in taken} == {1}


@pytest.mark.django_db
def test_nothing_is_trained_on_what_was_taken_out():
    release = make_release()
    DatasetRelease.objects.update(stale_at=Now())
    release.refresh_from_db()

    with pytest.raises(RunRefused, match="taken out since: cut a new one"):
        start_run(RunRequest(kind="preference_model", release=release), requested_by=None)

    form = NewRunForm(kind="preference_model")
    assert not form.fields["release"].queryset.exists()
