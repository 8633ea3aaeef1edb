"""An iteration of the online loop as it stands: five steps, each with its state and outcome.

Reads only; what happens next is the online loop's.
"""

from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from comparisons.models import DatasetRelease
from comparisons.queries.releases import ReleaseFilters, kept_since
from modelserving.models import Checkpoint, PromotionEvent, SlotDeployment
from training import queries
from training.evidence import evidence_for
from training.models import Iteration, TrainingRun, Trial

PM, POLICY = TrainingRun.Kind.PREFERENCE_MODEL, TrainingRun.Kind.PPO
WAITING_RUNS = (TrainingRun.State.QUEUED, TrainingRun.State.RUNNING)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What an iteration is to do; stored with it, so that it can be read next year."""

    fewest_new: int = 2000  # comparisons since the release of the iteration before
    test_percent: int = 20
    pm_preset: str = "demo"
    policy_preset: str = "demo"
    policy_seeds: tuple[int, ...] = (0,)
    initial: str = ""  # hash; empty: the starter, as each iteration trains from the same start
    trial_percent: int = 10  # of the slot's traffic, for each policy
    promotes_by_itself: bool = False  # when every condition is met
    without_sources: tuple[str, ...] = ()  # of imports, as a release leaves them out
    tries: dict[str, int] = field(default_factory=dict)  # step -> how often it was asked again

    @classmethod
    def of(cls, iteration: Iteration) -> "LoopSettings":
        """The settings an iteration was begun with."""
        known = {each.name for each in fields(cls)}
        stored = {key: value for key, value in iteration.settings.items() if key in known}
        stored["policy_seeds"] = tuple(stored.get("policy_seeds", (0,)))
        stored["without_sources"] = tuple(stored.get("without_sources", ()))
        return cls(**stored)

    def to_dict(self) -> dict[str, Any]:
        """As the row stores them."""
        listed = {name: list(getattr(self, name)) for name in ("policy_seeds", "without_sources")}
        return asdict(self) | listed

    def filters(self) -> ReleaseFilters:
        """What the iteration's release takes in."""
        return ReleaseFilters(without_sources=self.without_sources)

    def tries_of(self, step: str) -> int:
        """How often a step was asked for again."""
        return self.tries.get(step, 0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of the iteration's page."""

    key: str
    label: str
    state: str  # waits, running, done, failed
    outcome: str
    runs: tuple[TrainingRun, ...] = ()
    trials: tuple[Trial, ...] = ()

    @property
    def is_now(self) -> bool:
        """Whether this is where the iteration stands."""
        return self.state in {"running", "failed"}


def steps(iteration: Iteration) -> list[Step]:
    """The five steps in order."""
    return [
        _release_step(iteration),
        _runs_step(key="preference_model", label="preference model", found=pm_runs(iteration)),
        _runs_step(key="policies", label="policies", found=policy_runs(iteration)),
        _trial_step(iteration),
        _promotion_step(iteration),
    ]  # fmt: skip


def new_comparisons(iteration: Iteration) -> int:
    """How many comparisons came since the release of the iteration before."""
    earlier = Iteration.objects.filter(number__lt=iteration.number, release__isnull=False)
    last = earlier.select_related("release").order_by("-number").first()
    filters = LoopSettings.of(iteration).filters()
    return kept_since(last.release if last else None, filters)


def pm_runs(iteration: Iteration) -> list[TrainingRun]:
    """The preference model's run; earlier tries are left out."""
    return list(iteration.runs.filter(kind=PM).order_by("-pk")[:1])


def policy_runs(iteration: Iteration) -> list[TrainingRun]:
    """The newest try of each policy."""
    newest: dict[str, TrainingRun] = {}
    for run in iteration.runs.filter(kind=POLICY).select_related("checkpoint").order_by("pk"):
        newest[run.name] = run
    return list(newest.values())


def trials(iteration: Iteration) -> QuerySet[Trial]:
    """What the iteration put on trial."""
    return Trial.objects.filter(run__iteration=iteration).select_related(
        "deployment", "slot", "run"
    )


def preference_model(iteration: Iteration) -> Checkpoint | None:
    """The iteration's PM, once its run is done."""
    run = next(iter(pm_runs(iteration)), None)
    return run.checkpoint if run and run.state == TrainingRun.State.DONE else None


def promoted(iteration: Iteration) -> Trial | None:
    """The trial that serves, or served, because it was promoted."""
    for trial in trials(iteration):
        event = PromotionEvent.objects.filter(
            slot=trial.slot, deployment=trial.deployment, kind=PromotionEvent.Kind.PROMOTE
        )
        if event.exists():
            return trial
    return None


def device_time(iteration: Iteration) -> timedelta:
    """How long its runs have held a device."""
    spans = (
        run.finished_at - run.started_at
        for run in iteration.runs.all()
        if run.started_at and run.finished_at
    )
    return sum(spans, timedelta())


def _release_step(iteration: Iteration) -> Step:
    key, label = "release", "release"
    release = iteration.release
    if release is None:
        wanted, found = LoopSettings.of(iteration).fewest_new, new_comparisons(iteration)
        words = f"{found:,} new comparisons, {wanted:,} needed. Starts by itself then."
        return Step(key=key, label=label, state="waits", outcome=words)
    if release.state == DatasetRelease.State.FAILED:
        return Step(key=key, label=label, state="failed", outcome=release.failure)
    if release.state != DatasetRelease.State.FROZEN:
        return Step(key=key, label=label, state="running", outcome=release.name)
    counts = release.counts
    words = f"{release.name}: {counts.get('train', 0):,} to train on, {counts.get('test', 0):,} to test on"
    return Step(key=key, label=label, state="done", outcome=words)


def _runs_step(*, key: str, label: str, found: list[TrainingRun]) -> Step:
    states = {run.state for run in found}
    outcome = "; ".join(filter(None, (queries.headline(run) or run.reason for run in found)))
    if not found:
        state = "waits"
    elif states & set(WAITING_RUNS):
        state = "running"
    else:
        state = "done" if TrainingRun.State.DONE in states else "failed"
    return Step(key=key, label=label, state=state, outcome=outcome, runs=tuple(found))


def _trial_step(iteration: Iteration) -> Step:
    found = tuple(trials(iteration))
    percent = LoopSettings.of(iteration).trial_percent
    words = (
        ", ".join(trial.deployment.name for trial in found) or f"{percent} % of the traffic each"
    )
    state = "waits" if not found else "done" if promoted(iteration) else "running"
    return Step(key="trial", label="trial", state=state, outcome=words, trials=found)


def _promotion_step(iteration: Iteration) -> Step:
    key, label = "promotion", "promotion"
    won = promoted(iteration)
    if won is not None:
        return Step(
            key=key, label=label, state="done", outcome=f"{won.deployment.name} was promoted"
        )
    words = [
        f"{trial.deployment.name}: "
        + ", ".join(f"{each.name} {each.standing.replace('_', ' ')} (n={each.n or 0})" for each in
                    evidence_for(trial.slot, trial.deployment).conditions)
        for trial in trials(iteration)
        if _is_on_trial(trial)
    ]  # fmt: skip
    return Step(key=key, label=label, state="waits", outcome="; ".join(words))


def _is_on_trial(trial: Trial) -> bool:
    return SlotDeployment.objects.filter(
        slot=trial.slot, deployment=trial.deployment, role=SlotDeployment.Role.TRIAL
    ).exists()
