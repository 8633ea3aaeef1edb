"""Start and stop training runs: everything that can be refused is refused before a process starts.

Knows rows and configurations; the arithmetic, and every process, is elsewhere.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from comparisons.models import Account, DatasetRelease
from comparisons.services import audit
from modelserving import doorbell, registry
from modelserving.finding import NotFound, checkpoint_named
from modelserving.models import Checkpoint
from training import leases, question_sets
from training.config import ConfigError, presets, to_dict, with_overrides
from training.models import Iteration, TrainingRun
from training.tasks import execute_run

RING_EXPIRES = 15.0  # seconds: the reconciler rings again by then, so bells do not pile up

NEEDS_RELEASE = {"language_model", "preference_model", "ppo", "best_of_k", "evaluation"}
NEEDS_RANKER = {"ppo", "best_of_k"}
TAKES_SCORERS = {"preference_model", "evaluation"}  # as their start: trained further, or measured
BY_HAND = {  # kind -> what it reads, and the role of that among the inputs
    "context_distillation": ("a prepared corpus", "corpus"),
    "preference_pretraining": ("scored answers", "answers"),
}


class RunRefused(Exception):
    """A run that cannot begin; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a researcher asks for; anything left out takes its usual value."""

    kind: str
    preset: str = "demo"
    overrides: Mapping[str, str] | None = None
    release: DatasetRelease | None = None
    initial: Checkpoint | None = None
    ranker: Checkpoint | None = None
    test_pm: Checkpoint | None = None
    questions: str = ""
    name: str = ""
    iteration: Iteration | None = None
    request_key: uuid.UUID | None = None


def start_run(request: RunRequest, *, requested_by: Account | None) -> TrainingRun:
    """Check everything, store the run, ring for a worker. The same request key gives the same run."""
    if request.request_key is not None:
        known = TrainingRun.objects.filter(request_key=request.request_key).first()
        if known is not None:
            return known
    run = _checked(request)
    run.requested_by = requested_by
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            audit.record(
                actor=requested_by, action="run.start", object_type="training_run", object_id=run.public_id,
                detail={"kind": run.kind, "preset": run.preset},
            )  # fmt: skip
    except IntegrityError:
        known = TrainingRun.objects.filter(request_key=request.request_key).first()
        if request.request_key is None or known is None:
            raise
        return known
    transaction.on_commit(lambda: ring(run.pk), robust=True)
    return run


def request_stop(run: TrainingRun, *, actor: Account | None) -> None:
    """Ask a run to end after its step; a run that has not begun ends at once."""
    with transaction.atomic():
        fresh = TrainingRun.objects.filter(pk=run.pk, state=TrainingRun.State.QUEUED, attempt=0)
        if not fresh.update(
            state=TrainingRun.State.STOPPED, reason="Stopped before it began.", finished_at=Now()
        ):  # one that was interrupted still has a checkpoint to publish
            going = (TrainingRun.State.QUEUED, TrainingRun.State.RUNNING)
            TrainingRun.objects.filter(pk=run.pk, state__in=going).update(is_stop_requested=True)
        audit.record(
            actor=actor, action="run.stop", object_type="training_run", object_id=run.public_id
        )


def ring(run_id: int, *, expires: float | None = None) -> None:
    """Tell the training workers; when the broker is away the reconciler does it later."""
    doorbell.ring(execute_run, expires=expires, run_id=run_id)


def ring_for_waiting_runs() -> None:
    """Fail the worn-out, ring for the rest; doing it twice changes nothing."""
    leases.fail_worn_out()
    for run_id in leases.waiting():
        ring(run_id, expires=RING_EXPIRES)


def find_checkpoint(reference: str, *, kind: str | None = None) -> Checkpoint:
    """A checkpoint by hash, beginning of a hash, name, or the words `latest` and `starter`."""
    if reference == "starter":
        return registry.ensure_starter()
    if reference != "latest":
        try:
            return checkpoint_named(reference, kind=kind)
        except NotFound as refused:
            words = str(refused)
            raise RunRefused(f"{words[:1].upper()}{words[1:]}.") from None
    known = Checkpoint.objects.filter(**({"kind": kind} if kind else {}))
    newest = known.order_by("-pk").first()
    if newest is None:
        wanted = kind.replace("_", " ") if kind else "checkpoint"
        raise RunRefused(f"There is no {wanted} yet: train one first, or name one by hash.")
    return newest


def _checked(request: RunRequest) -> TrainingRun:
    config = _config(request)
    if request.kind in BY_HAND:
        what, role = BY_HAND[request.kind]
        raise RunRefused(
            f"A {request.kind.replace('_', ' ')} run reads {what}, no release. Make a directory for it: "
            f"`python -m training.core.new_run RUN_DIR --kind {request.kind} --input initial=CHECKPOINT "
            f"--input {role}=PATH`, then train: `python -m training.core RUN_DIR`."
        )
    _check_rollouts(config)
    check_release(request.release, kind=request.kind)
    initial = request.initial or registry.ensure_starter()
    if initial.kind == Checkpoint.Kind.PREFERENCE_MODEL and request.kind not in TAKES_SCORERS:
        raise RunRefused(
            f"{initial} is a preference model: start from a language model or a policy."
        )
    ranker = request.ranker
    if request.kind in NEEDS_RANKER:
        ranker = ranker or find_checkpoint("latest", kind=Checkpoint.Kind.PREFERENCE_MODEL)
    for role, checkpoint in (("ranker", ranker), ("test PM", request.test_pm)):
        if checkpoint is not None and checkpoint.kind != Checkpoint.Kind.PREFERENCE_MODEL:
            raise RunRefused(
                f"The {role} {checkpoint} is not a preference model: choose one that scores."
            )
    _check_divergence(config, test_pm=request.test_pm)
    _check_questions(request)
    return TrainingRun(
        kind=request.kind, name=request.name[:120], preset=request.preset, config=config,
        release=request.release, initial=initial, ranker=ranker, test_pm=request.test_pm,
        questions=request.questions,
        iteration=request.iteration, request_key=request.request_key,
    )  # fmt: skip


def _config(request: RunRequest) -> dict[str, object]:
    try:
        offered = presets(request.kind)
        if request.preset not in offered:
            raise RunRefused(
                f"{request.kind} has no preset {request.preset!r}: choose one of {', '.join(offered)}."
            )
        return to_dict(with_overrides(offered[request.preset], dict(request.overrides or {})))
    except ConfigError as refused:
        raise RunRefused(str(refused)) from refused


def _check_divergence(config: Mapping[str, object], *, test_pm: Checkpoint | None) -> None:
    """A second preference model is what the policy's scores may diverge from."""
    most = config.get("stop_on_divergence")
    if isinstance(most, int | float) and most > 0 and test_pm is None:
        raise RunRefused(
            f"stop_on_divergence is {most:g}, which compares with a second preference model: "
            "choose a test PM, or set it to 0."
        )


def _check_questions(request: RunRequest) -> None:
    """A question set is for evaluations, and must be here."""
    if not request.questions:
        return
    if request.kind != TrainingRun.Kind.EVALUATION:
        raise RunRefused(
            f"A {request.kind.replace('_', ' ')} run answers no questions: leave the question set out, or start an evaluation."
        )
    try:
        question_sets.directory_of(request.questions)
    except question_sets.QuestionsRefused as refused:
        raise RunRefused(str(refused)) from None


def _check_rollouts(config: Mapping[str, object]) -> None:
    """Allow only servers that the operator listed: any other would be asked from inside our network."""
    endpoint = str(config.get("rollout_endpoint") or "")
    named = {_origin(url) for url in (*settings.MODELSERVER_URLS, *settings.ALLOWED_ENDPOINTS)}
    if endpoint and _origin(endpoint) not in named - {""}:
        raise RunRefused(
            f"rollout_endpoint {endpoint} is none of the servers this machine may ask: "
            "add its http(s)://host:port to MODELSERVER_URLS or ALLOWED_ENDPOINTS, or leave it empty."
        )


def _origin(url: str) -> str:
    """Scheme, host and port of a web address; empty for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else ""


def words_of_stale(release: DatasetRelease) -> str:
    """What a run is refused with whose release lost something since it was cut."""
    return f"Release {release.name} holds comparisons that were taken out since: cut a new one and choose that."


def check_release(release: DatasetRelease | None, *, kind: str) -> None:
    """Refuse a release that such a run cannot train on, or may not any more."""
    if release is None:
        if kind in NEEDS_RELEASE:
            raise RunRefused(
                f"A {kind.replace('_', ' ')} run needs a release: cut one, then choose it here."
            )
        return
    if release.state != DatasetRelease.State.FROZEN:
        raise RunRefused(
            f"Release {release.name} is not frozen ({release.get_state_display()}): wait or cut another."
        )
    if release.stale_at:
        raise RunRefused(words_of_stale(release))
    counts = release.counts
    if kind == "preference_model" and not (counts.get("train") and counts.get("test")):
        raise RunRefused(
            f"Release {release.name} has {counts.get('train', 0)} training and {counts.get('test', 0)} test "
            "comparisons; both are needed. Cut one with more comparisons or a larger test share."
        )
