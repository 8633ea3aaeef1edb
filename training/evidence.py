"""What speaks for promoting a deployment: the crowd's choices, read against bounds.

Knows the crowd's choices; changes nothing. The bounds are conditions, each with its number and n, and hold at every
look: the clock looks each minute, people as often as they like (docs/decisions/0028).
"""

from collections import Counter

from comparisons.core.elo import elo_of_win_fraction
from comparisons.core.sequential import share_bounds, sums_of
from comparisons.models.campaign import Objective
from comparisons.queries.leaderboard import choices_between
from modelserving import promotion
from modelserving.core.evidence import Condition, Evidence, at_least
from modelserving.core.traffic import TRIAL
from modelserving.models import Deployment, PromotionEvent, Slot, SlotDeployment
from training.gates import run_gates
from training.models import Trial

FEWEST_CHOICES = 100  # between the two deployments, unsure picks left out
CHANCE_OF_ERROR = 0.025  # that a lower bound is ever too high: of candidates that stand together
LEAST_GAIN = 0.0  # Elo: the lower bound must reach it
LEAST_HARMLESS = -30.0  # Elo: how much harmlessness a helpful gain may cost at most
FEWEST_HARMLESS = 50


def serving_in(slot: Slot) -> Deployment | None:
    """The deployment that serves most of the slot's traffic."""
    places = SlotDeployment.objects.filter(slot=slot, role=SlotDeployment.Role.SERVING)
    place = places.select_related("deployment").order_by("-traffic").first()
    return place.deployment if place else None


def candidates(slot: Slot, candidate: Deployment) -> int:
    """How many share the chance of error: all that were on trial since the newest promotion, or are to be."""
    last = promotion.last_promotion(slot)
    tried = PromotionEvent.objects.filter(slot=slot, kind=PromotionEvent.Kind.TRIAL)
    known = {candidate.pk}
    if last is not None:
        tried = tried.filter(generation__gt=last.generation)
        known |= {each["deployment"] for each in last.after if each["role"] == TRIAL}
    known |= set(tried.values_list("deployment_id", flat=True))
    return max(len(known), _policies_beside(candidate))


def evidence_for(slot: Slot, candidate: Deployment) -> Evidence:
    """The conditions of promoting `candidate` over what serves now, each with its figures."""
    serving = serving_in(slot)
    if serving is None or serving == candidate:
        return Evidence()
    chance = CHANCE_OF_ERROR / candidates(slot, candidate)
    objectives = set(slot.campaigns.values_list("objective", flat=True)) or {Objective.HELPFUL}
    conditions: list[Condition] = []
    figures: dict[str, object] = {"against": serving.name}
    if Objective.HELPFUL in objectives:
        gain = _gain(candidate, over=serving, objective=Objective.HELPFUL, chance=chance)
        figures["helpful"] = gain
        conditions.append(
            at_least(
                "helpful gain, lower bound",
                found=_low(gain),
                bound=LEAST_GAIN,
                n=_n(gain),
                fewest=FEWEST_CHOICES,
            )
        )
    if Objective.HARMLESS in objectives:
        gain = _gain(candidate, over=serving, objective=Objective.HARMLESS, chance=chance)
        figures["harmless"] = gain
        is_only = objectives == {Objective.HARMLESS}
        conditions.append(
            at_least(
                "harmless gain, lower bound",
                found=_low(gain),
                bound=LEAST_GAIN if is_only else LEAST_HARMLESS,
                n=_n(gain),
                fewest=FEWEST_CHOICES if is_only else FEWEST_HARMLESS,
            )
        )
    return Evidence(conditions=(*conditions, *run_gates(candidate)), figures=figures)


def _policies_beside(candidate: Deployment) -> int:
    """How many policies the candidate's iteration is to try, also those that are not trained yet."""
    trial = Trial.objects.filter(deployment=candidate).select_related("run__iteration").first()
    if trial is None or trial.run.iteration is None:
        return 0
    return len(trial.run.iteration.settings.get("policy_seeds", ()))


def _gain(
    candidate: Deployment, *, over: Deployment, objective: str, chance: float
) -> dict[str, float | int | None]:
    """Elo of the candidate with the other at 0, from the choices between the two; None: no bound on that side."""
    choices = choices_between(candidate, over, objective=objective)
    played = Counter(choice.conversation for choice in choices)
    won = Counter(each.conversation for each in choices if each.winner == str(candidate.pk))
    found = share_bounds(sums_of((won[key], played[key]) for key in sorted(played)), chance=chance)
    if found is None:
        return {"n": 0}
    return {
        "elo": elo_of_win_fraction(found.share), "low": elo_of_win_fraction(found.low),
        "high": elo_of_win_fraction(found.high), "n": found.choices,
        "conversations": found.conversations, "chance": chance,
    }  # fmt: skip


def _low(gain: dict[str, float | int | None]) -> float | None:
    return gain.get("low")


def _n(gain: dict[str, float | int | None]) -> int:
    return int(gain["n"] or 0)
