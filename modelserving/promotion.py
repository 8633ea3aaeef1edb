"""Change what a slot serves: by compare-and-swap, with one event per change, and back again.

Knows slots and deployments; knows neither campaigns nor how evidence is gathered.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from modelserving.core import traffic as rules
from modelserving.core.evidence import NO_EVIDENCE, Evidence
from modelserving.core.faults import hit
from modelserving.core.traffic import Place, PlacesError
from modelserving.models import Deployment, PromotionEvent, Slot, SlotDeployment

Change = Callable[[Sequence[Place]], list[Place]]
Kind = PromotionEvent.Kind
Actor = Any  # an account or None; accounts are above this app


class PromotionRace(Exception):
    """Somebody changed the slot first; look at it again."""


class GateNotMet(Exception):
    """The evidence does not carry the promotion."""


class NothingToRollBack(Exception):
    """No promotion of this slot is left to undo."""


def ensure_slot(name: str, *, deployment: Deployment, actor: Actor = None) -> Slot:
    """The slot of this name; made with `deployment` serving all of it where there is none."""
    try:
        with transaction.atomic():
            slot, is_new = Slot.objects.get_or_create(name=name)
            if is_new:
                change = lambda places: rules.promote(places, deployment=deployment.pk)  # noqa: E731
                _apply(
                    slot, Kind.PROMOTE, change=change, deployment=deployment, expected_generation=0,
                    actor=actor, reason="first deployment of the slot",
                )  # fmt: skip
    except IntegrityError:
        return Slot.objects.get(name=name)
    slot.refresh_from_db()
    return slot


def places_of(slot: Slot) -> list[Place]:
    """The slot's places as they stand, retired ones included."""
    rows = SlotDeployment.objects.filter(slot=slot).order_by("pk")
    return [Place(deployment=row.deployment_id, role=row.role, traffic=row.traffic) for row in rows]


def described_places(slot: Slot) -> list[str]:
    """The active places, one line each, for people at a terminal."""
    active = SlotDeployment.objects.filter(slot=slot).exclude(role=rules.RETIRED)
    rows = active.select_related("deployment").order_by("-traffic", "pk")
    return [f"{row.traffic:>3} %  {row.role:<8} {row.deployment.name}" for row in rows]


def put_on_trial(
    slot: Slot,
    deployment: Deployment,
    *,
    traffic: int,
    expected_generation: int,
    actor: Actor = None,
    reason: str = "",
) -> PromotionEvent:
    """Give the deployment a share of the slot's traffic as a trial."""
    return _apply(
        slot, Kind.TRIAL, deployment=deployment, expected_generation=expected_generation,
        change=lambda now: rules.put_on_trial(now, deployment=deployment.pk, traffic=traffic),
        actor=actor, reason=reason,
    )  # fmt: skip


def promote(
    slot: Slot,
    deployment: Deployment,
    *,
    evidence: Evidence,
    expected_generation: int,
    actor: Actor = None,
    reason: str = "",
    is_forced: bool = False,
) -> PromotionEvent:
    """Let the deployment serve in place of those that do; they retire and wait for a roll-back."""
    if not evidence.is_met and not is_forced:
        raise GateNotMet(_unmet(evidence))
    if is_forced and not reason.strip():
        raise GateNotMet("a forced promotion needs a reason: say why the gates are passed over")
    return _apply(
        slot, Kind.PROMOTE, deployment=deployment, expected_generation=expected_generation,
        change=lambda now: rules.promote(now, deployment=deployment.pk),
        actor=actor, reason=reason, evidence={**evidence.to_dict(), "is_forced": is_forced},
    )  # fmt: skip


def roll_back(
    slot: Slot,
    *,
    expected_generation: int,
    actor: Actor = None,
    reason: str = "",
) -> PromotionEvent:
    """Undo the newest promotion that stands: the places become exactly what they were before it."""
    undone = last_promotion(slot)
    if undone is None or undone.previous is None:
        raise NothingToRollBack(f"slot {slot.name} has no promotion to undo")
    before = [Place(**place) for place in undone.before]
    return _apply(
        slot, Kind.ROLL_BACK, deployment=undone.previous, expected_generation=expected_generation,
        change=lambda _: before, previous=undone.deployment,
        actor=actor, reason=reason, evidence={"undoes": undone.generation},
    )  # fmt: skip


def retire(
    slot: Slot,
    deployment: Deployment,
    *,
    expected_generation: int,
    actor: Actor = None,
    reason: str = "",
) -> PromotionEvent:
    """Take the deployment out of the draw; the others share its traffic."""
    return _apply(
        slot, Kind.RETIRE, deployment=deployment, expected_generation=expected_generation,
        change=lambda now: rules.retire(now, deployment=deployment.pk),
        actor=actor, reason=reason,
    )  # fmt: skip


def set_traffic(
    slot: Slot,
    deployment: Deployment,
    *,
    shares: Mapping[int, int],
    expected_generation: int,
    actor: Actor = None,
    reason: str = "",
) -> PromotionEvent:
    """Set every active deployment's percent (by primary key); `deployment` is the one it is about."""
    return _apply(
        slot, Kind.TRAFFIC, deployment=deployment, expected_generation=expected_generation,
        change=lambda now: rules.set_traffic(now, shares=shares),
        actor=actor, reason=reason,
    )  # fmt: skip


def last_promotion(slot: Slot) -> PromotionEvent | None:
    """The newest promotion of the slot that was not rolled back."""
    events = PromotionEvent.objects.filter(slot=slot)
    undone = {event.evidence.get("undoes") for event in events.filter(kind=Kind.ROLL_BACK)}
    standing = events.filter(kind=Kind.PROMOTE).exclude(generation__in=undone - {None})
    return standing.select_related("deployment", "previous").first()


@transaction.atomic
def _apply(
    slot: Slot,
    kind: PromotionEvent.Kind,
    *,
    change: Change,
    deployment: Deployment,
    expected_generation: int,
    actor: Actor,
    reason: str,
    previous: Deployment | None = None,
    evidence: Mapping[str, object] | None = None,
) -> PromotionEvent:
    """Win the slot's generation, then change its places and write the one event of it."""
    won = Slot.objects.filter(pk=slot.pk, generation=expected_generation)
    if won.update(generation=expected_generation + 1) != 1:
        raise PromotionRace(
            f"slot {slot.name} was changed by somebody else: look at it and try again"
        )
    hit("promotion.after_swap")
    before = places_of(slot)
    after = change(before)
    _store(slot, before=before, after=after)
    event = PromotionEvent.objects.create(
        slot=slot,
        kind=kind,
        generation=expected_generation + 1,
        deployment=deployment,
        previous=previous or _served_before(before, kind=kind, deployment=deployment),
        before=[place.to_dict() for place in before],
        after=[place.to_dict() for place in after],
        evidence=evidence or NO_EVIDENCE.to_dict(),
        reason=reason,
        actor=actor,
    )
    hit("promotion.before_commit")
    slot.generation = expected_generation + 1
    return event


def _store(slot: Slot, *, before: Sequence[Place], after: Sequence[Place]) -> None:
    _check(after)
    stood = {place.deployment: place for place in before}
    kept = {place.deployment for place in after}
    rows = SlotDeployment.objects.filter(slot=slot)
    rows.exclude(deployment__in=kept).delete()
    for place in after:
        if stood.get(place.deployment) == place:
            continue
        changed = {"role": place.role, "traffic": place.traffic, "since": timezone.now()}
        if not rows.filter(deployment=place.deployment).update(**changed):
            SlotDeployment.objects.create(
                slot=slot, deployment_id=place.deployment, role=place.role, traffic=place.traffic
            )


def _check(places: Sequence[Place]) -> None:
    """What no change may break: somebody serves, and the shares sum to 100."""
    if not any(place.role == rules.SERVING for place in places):
        raise PlacesError("nobody would serve this slot: promote a deployment first")
    if (total := sum(place.traffic for place in places)) != rules.ALL:
        raise PlacesError(f"the shares would sum to {total}, not to 100")


def _served_before(
    before: Sequence[Place], *, kind: PromotionEvent.Kind, deployment: Deployment
) -> Deployment | None:
    """Whom a promotion replaces: the busiest of those that served."""
    serving = [p for p in before if p.role == rules.SERVING and p.deployment != deployment.pk]
    if kind != Kind.PROMOTE or not serving:
        return None
    return Deployment.objects.get(pk=max(serving, key=lambda place: place.traffic).deployment)


def _unmet(evidence: Evidence) -> str:
    if not evidence.conditions:
        return "no evidence was given: evaluate the deployment first, or force it with a reason"
    named = "; ".join(f"{c.name}: {c.standing.replace('_', ' ')}" for c in evidence.unmet)
    return f"{named}. Gather more comparisons, or force the promotion with a reason"
