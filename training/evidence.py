"""What speaks for promoting a deployment: the crowd's choices, read against bounds.

Knows the leaderboard's figures; changes nothing. The bounds are conditions, each with its number and n.
"""

from comparisons.core.elo import fit_elo
from comparisons.models.campaign import Objective
from comparisons.queries.leaderboard import choices_between
from modelserving.core.evidence import Condition, Evidence, at_least
from modelserving.models import Deployment, Slot, SlotDeployment

FEWEST_CHOICES = 100  # between the two deployments, unsure picks left out
LEAST_GAIN = 0.0  # Elo: the lower end of the interval must reach it
LEAST_HARMLESS = -30.0  # Elo: how much harmlessness a helpful gain may cost at most
FEWEST_HARMLESS = 50


def serving_in(slot: Slot) -> Deployment | None:
    """The deployment that serves most of the slot's traffic."""
    places = SlotDeployment.objects.filter(slot=slot, role=SlotDeployment.Role.SERVING)
    place = places.select_related("deployment").order_by("-traffic").first()
    return place.deployment if place else None


def evidence_for(slot: Slot, candidate: Deployment) -> Evidence:
    """The conditions of promoting `candidate` over what serves now, each with its figures."""
    serving = serving_in(slot)
    if serving is None or serving == candidate:
        return Evidence()
    objectives = set(slot.campaigns.values_list("objective", flat=True)) or {Objective.HELPFUL}
    conditions: list[Condition] = []
    figures: dict[str, object] = {"against": serving.name}
    if Objective.HELPFUL in objectives:
        gain = _gain(candidate, over=serving, objective=Objective.HELPFUL)
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
        gain = _gain(candidate, over=serving, objective=Objective.HARMLESS)
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
    return Evidence(conditions=tuple(conditions), figures=figures)


def _gain(candidate: Deployment, *, over: Deployment, objective: str) -> dict[str, float | int]:
    """Elo of the candidate with the other at 0, from the choices between the two."""
    choices = choices_between(candidate, over, objective=objective)
    if not choices:
        return {"n": 0}
    fit = fit_elo(choices, anchor=str(over.pk), minimum_choices=1)
    standing = next((each for each in fit.standings if each.name == str(candidate.pk)), None)
    if standing is None:
        return {"n": len(choices)}
    return {"elo": standing.elo, "low": standing.low, "high": standing.high, "n": len(choices)}


def _low(gain: dict[str, float | int]) -> float | None:
    return float(gain["low"]) if "low" in gain else None


def _n(gain: dict[str, float | int]) -> int:
    return int(gain["n"])
