"""Iterated online training (paper §4.5): release, preference model, policies, trial, promotion.

Each call looks at the rows and does what comes next, so it can be repeated, interrupted and raced. Knows no pages.
"""

import logging
import uuid
from itertools import takewhile
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils.timezone import now

from comparisons.models import Account, DatasetRelease
from comparisons.queries.releases import suggested_test_percent
from comparisons.services import audit, releasing
from modelserving import promotion
from modelserving.core.traffic import PlacesError
from modelserving.deployments import DeploymentRefused, create_deployment
from modelserving.models import Deployment, Slot, SlotDeployment
from modelserving.registry import CheckpointNotRegistered
from training import iterations, services, trials
from training.evidence import evidence_for
from training.iterations import LoopSettings
from training.models import Iteration, TrainingRun, Trial
from training.services import RunRefused, RunRequest, find_checkpoint, request_stop, start_run

logger = logging.getLogger(__name__)

State = Iteration.State
OPEN = (State.WAITING, State.RUNNING, State.TRIAL)
KEYS = uuid.UUID("5c1d1f0e-7f0e-4b43-9d5a-6d8a3c8b1c55")  # namespace of the loop's request keys
Refusals = (
    RunRefused, CheckpointNotRegistered, DeploymentRefused, PlacesError, promotion.GateNotMet,
)  # fmt: skip
RETRIED = ("release", "preference_model", "policies")


class LoopRefused(Exception):
    """The loop cannot do this now; the message says why."""


def begin(*, slot: Slot, wanted: LoopSettings, actor: Account | None) -> Iteration:
    """Open the next iteration. One at a time: its comparisons are the next one's data."""
    running = Iteration.objects.filter(state__in=OPEN).first()
    if running is not None:
        raise LoopRefused(f"Iteration {running.number} is not over: finish or cancel it first.")
    releasing.refuse_unknown_sources(wanted.filters())
    number = (Iteration.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    try:
        with transaction.atomic():
            iteration = Iteration.objects.create(
                number=number, slot=slot, settings=wanted.to_dict()
            )
            _audit(iteration, "iteration.begin", actor=actor, detail=wanted.to_dict())
    except IntegrityError:
        raise LoopRefused(f"Iteration {number} was begun by somebody else just now.") from None
    return advance(iteration)


def advance_all() -> None:
    """What beat calls: advance every open iteration, and stop the runs that a cancelled one left."""
    left = Q(runs__state__in=iterations.WAITING_RUNS, runs__is_stop_requested=False)
    wanted = Q(state__in=OPEN) | Q(state=State.CANCELLED) & left
    for iteration in Iteration.objects.filter(wanted).distinct().order_by("number"):
        advance(iteration)


def advance(iteration: Iteration) -> Iteration:
    """Do what comes next, if anything can be done. Harmless to call again, also at the same time."""
    iteration.refresh_from_db()
    if iteration.state not in OPEN:
        return _left_behind(iteration)
    try:
        _next(iteration)
    except Refusals as refused:
        note(iteration, step="loop", what="waits", why=str(refused))
    except promotion.PromotionRace:
        logger.info(
            "iteration %s: the slot changed meanwhile; the next look goes on", iteration.number
        )
    iteration.refresh_from_db()
    return _left_behind(iteration)  # it may have been ended while this began a run


def start_now(iteration: Iteration, *, actor: Account | None) -> Iteration:
    """Begin with the comparisons there are, fewer than were wanted."""
    with transaction.atomic():
        _change(iteration, fewest_new=0)
        note(iteration, step="release", what="started now", why=_by(actor))
        _audit(iteration, "iteration.start_now", actor=actor, detail={})
    return advance(iteration)


def retry(iteration: Iteration, *, step: str, reason: str, actor: Account | None) -> Iteration:
    """Ask for a failed step once more; the failed tries stay in the record."""
    found = next((each for each in iterations.steps(iteration) if each.key == step), None)
    if step not in RETRIED or found is None or found.state != "failed":
        raise LoopRefused("Only a failed release, preference model or policy can be tried again.")
    tries = LoopSettings.of(iteration).tries
    with transaction.atomic():
        _change(iteration, tries=tries | {step: tries.get(step, 0) + 1})
        if step == "release":
            Iteration.objects.filter(pk=iteration.pk).update(release=None)
        note(iteration, step=step, what="tried again", why=reason)
        _audit(iteration, "iteration.retry", actor=actor, detail={"step": step, "reason": reason})
    return advance(iteration)


def end(iteration: Iteration, *, reason: str, actor: Account | None) -> Iteration:
    """Close an iteration without a promotion; what runs is asked to stop, what is on trial stays."""
    if not reason.strip():
        raise LoopRefused("Say why the iteration ends: the reason is kept with it.")
    still_open = Iteration.objects.filter(pk=iteration.pk, state__in=OPEN)
    with transaction.atomic():  # before its runs are stopped: then nothing new begins
        if still_open.update(state=State.CANCELLED, finished_at=now()):
            note(iteration, step="loop", what="cancelled", why=reason)
            _audit(iteration, "iteration.cancel", actor=actor, detail={"reason": reason})
    iteration.refresh_from_db()
    return _left_behind(iteration, actor=actor)


def note(iteration: Iteration, *, step: str, what: str, why: str) -> None:
    """Write a line into the iteration's record, once."""
    with transaction.atomic():
        row = Iteration.objects.select_for_update().get(pk=iteration.pk)
        wait = takewhile(lambda line: line["what"] == "waits", reversed(row.notes))
        known = [*row.notes[-1:], *wait]  # what it waits for may take turns
        if any((each["step"], each["what"], each["why"]) == (step, what, why) for each in known):
            return
        row.notes = [*row.notes, {"at": now().isoformat(), "step": step, "what": what, "why": why}]
        row.save(update_fields=["notes"])


def _left_behind(iteration: Iteration, *, actor: Account | None = None) -> Iteration:
    """What still waits or runs for a cancelled iteration is asked to stop, once."""
    if iteration.state == State.CANCELLED:
        for run in iteration.runs.filter(
            state__in=iterations.WAITING_RUNS, is_stop_requested=False
        ):
            request_stop(run, actor=actor)
    return iteration


def _next(iteration: Iteration) -> None:
    wanted = LoopSettings.of(iteration)
    if not _has_release(iteration, wanted):
        return
    if not iterations.pm_runs(iteration) or _is_asked_again(iteration, "preference_model"):
        _start(
            iteration,
            step="preference_model",
            kind=iterations.PM,
            preset=wanted.pm_preset,
            name="pm",
        )
        return
    pm = iterations.preference_model(iteration)
    if pm is None:
        return
    runs = iterations.policy_runs(iteration)
    if len(runs) < len(wanted.policy_seeds) or _is_asked_again(iteration, "policies"):
        for seed in wanted.policy_seeds:
            _start(
                iteration, step="policies", kind=iterations.POLICY, preset=wanted.policy_preset,
                name=f"seed{seed}", ranker=pm, overrides={"seed": str(seed)},
            )  # fmt: skip
        return
    if any(run.state in iterations.WAITING_RUNS for run in runs):
        return
    for run in runs:
        if run.state == TrainingRun.State.DONE and run.checkpoint is not None:
            _put_on_trial(iteration, run=run, percent=wanted.trial_percent)
    _promote(iteration, by_itself=wanted.promotes_by_itself)


def _has_release(iteration: Iteration, wanted: LoopSettings) -> bool:
    """Whether there is a frozen one to train on; where there is none, one is asked for."""
    if iteration.release is None:
        _open_release(iteration, wanted)
        iteration.refresh_from_db()
    release = iteration.release
    if release is None or release.state != DatasetRelease.State.FROZEN:
        return False
    return not (release.stale_at and _leaves_release(iteration, release))


def _leaves_release(iteration: Iteration, release: DatasetRelease) -> bool:
    """Cut anew where something was taken out before the policies began; what was trained on it is left behind."""
    pms, policies = iterations.pm_runs(iteration), iterations.policy_runs(iteration)
    is_training = any(run.state in iterations.WAITING_RUNS for run in pms)
    # those that were refused for what was taken out meanwhile never began
    if is_training or any(run.reason != services.words_of_stale(release) for run in policies):
        return is_training
    held = Iteration.objects.filter(pk=iteration.pk, release=release)
    if held.update(release=None):
        tries = LoopSettings.of(iteration).tries
        again = ["release", *["preference_model"] * bool(pms), *["policies"] * bool(policies)]
        _change(iteration, tries=tries | {step: tries.get(step, 0) + 1 for step in again})
        why = f"comparisons of {release.name} were taken out"
        note(iteration, step="release", what="cut anew", why=why)
    return True


def _open_release(iteration: Iteration, wanted: LoopSettings) -> None:
    if iterations.new_comparisons(iteration) < max(wanted.fewest_new, 1):
        return
    suffix = f"-{wanted.tries_of('release')}" if wanted.tries_of("release") else ""
    name = f"iteration-{iteration.number}{suffix}"
    # as before: no message changes sides
    percent = suggested_test_percent(usual=wanted.test_percent)
    try:
        release = releasing.request_release(name, test_percent=percent, filters=wanted.filters())
    except releasing.ReleaseNameTaken:
        release = DatasetRelease.objects.get(name=name)
    except releasing.ReleaseRefused as refused:
        note(iteration, step="release", what="waits", why=str(refused))
        return
    Iteration.objects.filter(pk=iteration.pk, release__isnull=True).update(
        release=release, state=State.RUNNING
    )


def _start(
    iteration: Iteration, *, step: str, kind: str, preset: str, name: str, **inputs: Any
) -> None:
    """One run; the request key makes a second call find the first one's run."""
    wanted = LoopSettings.of(iteration)
    full_name = f"iteration-{iteration.number}-{name}"
    key = uuid.uuid5(KEYS, f"{full_name}/{wanted.tries_of(step)}")
    start_run(
        RunRequest(
            kind=kind, preset=preset, release=iteration.release, name=full_name, iteration=iteration,
            initial=find_checkpoint(wanted.initial) if wanted.initial else None, request_key=key, **inputs,
        ),
        requested_by=None,
    )  # fmt: skip


def _is_asked_again(iteration: Iteration, step: str) -> bool:
    """Whether somebody asked for a failed step again and the new run is not there yet."""
    tries = LoopSettings.of(iteration).tries_of(step)
    kind, seeds = (iterations.PM, 1) if step == "preference_model" else (
        iterations.POLICY, len(LoopSettings.of(iteration).policy_seeds))  # fmt: skip
    return iteration.runs.filter(kind=kind).count() < seeds * (tries + 1)


def _put_on_trial(iteration: Iteration, *, run: TrainingRun, percent: int) -> None:
    """A deployment and its share of the slot, each only once."""
    if run.checkpoint is None or Trial.objects.filter(run=run).exists():
        return
    slot, name = Slot.objects.get(pk=iteration.slot_id), run.name
    deployment = Deployment.objects.filter(name=name).first()
    if deployment is None:
        deployment = create_deployment(name=name, checkpoint=run.checkpoint)
    if not SlotDeployment.objects.filter(slot=slot, deployment=deployment).exists():
        trials.put_on_trial(
            slot, deployment, traffic=percent, actor=None, reason=f"iteration {iteration.number}"
        )
    Trial.objects.get_or_create(deployment=deployment, defaults={"run": run, "slot": slot})
    Iteration.objects.filter(pk=iteration.pk, state=State.RUNNING).update(state=State.TRIAL)


def _promote(iteration: Iteration, *, by_itself: bool) -> None:
    """Promote on evidence where that is wanted, and close once something was promoted."""
    if by_itself and iterations.promoted(iteration) is None:
        for trial in iterations.trials(iteration):
            if evidence_for(trial.slot, trial.deployment).is_met:
                trials.promote(
                    trial.slot, trial.deployment, expected_generation=trial.slot.generation,
                    actor=None, reason=f"iteration {iteration.number}", is_forced=False,
                )  # fmt: skip
                break
    won = iterations.promoted(iteration)
    if won is not None and Iteration.objects.filter(pk=iteration.pk, state=State.TRIAL).update(
        state=State.DONE, finished_at=now()
    ):
        note(iteration, step="promotion", what="done", why=f"{won.deployment.name} was promoted")


def _change(iteration: Iteration, **changes: Any) -> None:
    with transaction.atomic():
        row = Iteration.objects.select_for_update().get(pk=iteration.pk)
        row.settings = {**row.settings, **changes}
        row.save(update_fields=["settings"])
    iteration.refresh_from_db()


def _audit(
    iteration: Iteration, action: str, *, actor: Account | None, detail: dict[str, Any]
) -> None:
    audit.record(
        actor=actor, action=action, object_type="iteration", object_id=iteration.number,
        detail=detail,
    )  # fmt: skip


def _by(actor: Account | None) -> str:
    return f"asked for by {actor.username}" if actor else "asked for on the command line"
