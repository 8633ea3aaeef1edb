"""Try, promote and roll back deployments: each asks for what must hold, then changes the slot and says so.

Knows evidence, slots and the audit; how a reply is made and how a slot is swapped is below.
"""

from collections.abc import Mapping

from django.db import transaction

from comparisons.models import Account
from comparisons.services import audit
from modelserving import promotion
from modelserving.core.evidence import Condition, Evidence
from modelserving.generation import answers
from modelserving.models import Deployment, PromotionEvent, Slot
from training.evidence import evidence_for


def put_on_trial(
    slot: Slot, deployment: Deployment, *, traffic: int, actor: Account | None, reason: str
) -> PromotionEvent:
    """Give a deployment that answers a share of the slot's traffic; nothing is restarted."""
    _require_answer(deployment)
    with transaction.atomic():
        event = promotion.put_on_trial(
            slot,
            deployment,
            traffic=traffic,
            expected_generation=slot.generation,
            actor=actor,
            reason=reason,
        )
        _note(event, actor=actor)
    return event


def promote(
    slot: Slot,
    deployment: Deployment,
    *,
    expected_generation: int,
    actor: Account | None,
    reason: str,
    is_forced: bool,
) -> PromotionEvent:
    """Let a deployment serve on the crowd's evidence. Not even force lets a silent one serve."""
    evidence: Evidence = evidence_for(slot, deployment).plus(_require_answer(deployment))
    with transaction.atomic():
        event = promotion.promote(
            slot, deployment, evidence=evidence, expected_generation=expected_generation, actor=actor,
            reason=reason, is_forced=is_forced,
        )  # fmt: skip
        _note(event, actor=actor)
    return event


def roll_back(
    slot: Slot, *, expected_generation: int, actor: Account | None, reason: str
) -> PromotionEvent:
    """Back to what served before the newest promotion that stands."""
    with transaction.atomic():
        event = promotion.roll_back(
            slot, expected_generation=expected_generation, actor=actor, reason=reason
        )
        _note(event, actor=actor)
    return event


def retire(
    slot: Slot,
    deployment: Deployment,
    *,
    expected_generation: int,
    actor: Account | None,
    reason: str,
) -> PromotionEvent:
    """Take a deployment out of the draw; turns already begun finish on it."""
    with transaction.atomic():
        event = promotion.retire(
            slot, deployment, expected_generation=expected_generation, actor=actor, reason=reason
        )
        _note(event, actor=actor)
    return event


def set_traffic(
    slot: Slot,
    shares: Mapping[int, int],
    *,
    expected_generation: int,
    actor: Account | None,
    reason: str,
) -> PromotionEvent:
    """Share the traffic out anew: percent by deployment, 100 in all."""
    about = Deployment.objects.get(pk=max(shares, key=lambda key: shares[key]))
    with transaction.atomic():
        event = promotion.set_traffic(
            slot,
            about,
            shares=shares,
            expected_generation=expected_generation,
            actor=actor,
            reason=reason,
        )
        _note(event, actor=actor)
    return event


def _require_answer(deployment: Deployment) -> Condition:
    reply = answers(deployment)
    if reply.standing != "met":
        raise promotion.GateNotMet(
            f"{deployment.name} does not answer: {reply.says}. Look at the model servers, then try again."
        )
    return reply


def _note(event: PromotionEvent, *, actor: Account | None) -> None:
    """Say so in the audit, within the transaction of the change: neither stands without the other."""
    audit.record(
        actor=actor, action=f"slot.{event.kind}", object_type="slot", object_id=event.slot_id,
        detail={"deployment": event.deployment.name, "generation": event.generation, "reason": event.reason},
    )  # fmt: skip
