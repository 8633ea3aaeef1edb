"""Which two deployments answer a message, and on which side: with the exact probability of the draw.

Pure; knows places in a slot as plain values, and neither the database nor what a deployment is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BY_TRAFFIC = "by_traffic"
SERVING_AGAINST_TRIAL = "serving_against_trial"
SAME_DEPLOYMENT = "same_deployment"
RULES = (BY_TRAFFIC, SERVING_AGAINST_TRIAL, SAME_DEPLOYMENT)


class NothingToPair(ValueError):
    """No deployment of the slot takes traffic."""


class Place(NamedTuple):
    """A deployment's place in a slot."""

    deployment_id: int
    role: str  # serving, trial, retired
    traffic: int  # percent


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Who answers on side A and on side B. `probability` is that of this ordered pair under `rule`."""

    side_a: int
    side_b: int
    rule: str  # the rule that was applied: without a trial, two draws by traffic
    probability: float


def choose_pair(places: Sequence[tuple[int, str, int]], *, rule: str, rng: random.Random) -> Pair:
    """Draw two deployments and their sides."""
    if rule not in RULES:
        raise ValueError(f"pairing rule {rule!r}: one of {', '.join(RULES)}")
    drawn_from = [Place(*each) for each in places if each[2] > 0]
    if not drawn_from:
        raise NothingToPair("no deployment of this slot takes traffic: give one a share first")
    applied = _applied(drawn_from, rule=rule)
    side_a, side_b = _draw(drawn_from, rule=applied, rng=rng)
    return Pair(
        side_a=side_a,
        side_b=side_b,
        rule=applied,
        probability=pair_probability(drawn_from, side_a=side_a, side_b=side_b, rule=applied),
    )


def pair_probability(
    places: Sequence[tuple[int, str, int]], *, side_a: int, side_b: int, rule: str
) -> float:
    """The probability that `rule` draws exactly this ordered pair."""
    every = [Place(*each) for each in places if each[2] > 0]
    if rule == SAME_DEPLOYMENT:
        return _share(every, side_a) if side_a == side_b else 0.0
    if rule == BY_TRAFFIC:
        return _share(every, side_a) * _share(every, side_b)
    serving, trial = _of_role(every, "serving"), _of_role(every, "trial")
    one_way = _share(serving, side_a) * _share(trial, side_b)
    other_way = _share(trial, side_a) * _share(serving, side_b)
    return 0.5 * (one_way + other_way)


def _applied(places: Sequence[Place], *, rule: str) -> str:
    """Serving against trial needs both; where one is missing, draw by traffic."""
    if rule != SERVING_AGAINST_TRIAL:
        return rule
    has_both = _of_role(places, "serving") and _of_role(places, "trial")
    return rule if has_both else BY_TRAFFIC


def _draw(places: Sequence[Place], *, rule: str, rng: random.Random) -> tuple[int, int]:
    if rule == SAME_DEPLOYMENT:
        only = _one(places, rng=rng)
        return only, only
    if rule == BY_TRAFFIC:  # two independent draws: either order is as likely
        return _one(places, rng=rng), _one(places, rng=rng)
    serving = _one(_of_role(places, "serving"), rng=rng)
    trial = _one(_of_role(places, "trial"), rng=rng)
    return (serving, trial) if rng.random() < 0.5 else (trial, serving)


def _one(places: Sequence[Place], *, rng: random.Random) -> int:
    ticket = rng.randrange(sum(place.traffic for place in places))
    for place in places:
        ticket -= place.traffic
        if ticket < 0:
            return place.deployment_id
    raise AssertionError("a ticket below the sum of traffic belongs to a place")


def _of_role(places: Sequence[Place], role: str) -> list[Place]:
    return [place for place in places if place.role == role]


def _share(places: Sequence[Place], deployment_id: int) -> float:
    own = sum(place.traffic for place in places if place.deployment_id == deployment_id)
    return own / sum(place.traffic for place in places)
