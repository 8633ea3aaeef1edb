"""How a slot's places change: who serves, who is on trial, and shares that always sum to 100 percent.

Pure; knows places as plain values, and neither the database nor why something is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

SERVING, TRIAL, RETIRED = "serving", "trial", "retired"
ALL = 100  # percent


class PlacesError(ValueError):
    """The change would leave the slot without service, or with shares that do not add up."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A deployment's place: its role and its percent of the sides drawn."""

    deployment: int
    role: str
    traffic: int

    def to_dict(self) -> dict[str, int | str]:
        """The place as a promotion event keeps it."""
        return {"deployment": self.deployment, "role": self.role, "traffic": self.traffic}


def apportioned(weights: Mapping[int, int], *, total: int) -> dict[int, int]:
    """Whole percentages in proportion to `weights` that sum to `total` (largest remainders)."""
    whole = sum(weights.values())
    if whole <= 0:
        raise PlacesError("no other deployment takes traffic: there is nothing to share it with")
    exact = {key: weight * total / whole for key, weight in weights.items()}
    shares = {key: int(value) for key, value in exact.items()}
    short = total - sum(shares.values())
    for key in sorted(exact, key=lambda each: (shares[each] - exact[each], each))[:short]:
        shares[key] += 1
    return shares


def put_on_trial(places: Sequence[Place], *, deployment: int, traffic: int) -> list[Place]:
    """The deployment joins as a trial with this share; the others give way in proportion."""
    if not 1 <= traffic < ALL:
        raise PlacesError(f"a trial takes 1 to 99 percent of the traffic, not {traffic}")
    if _is(places, deployment, role=SERVING):
        raise PlacesError("this deployment serves the slot: choose one that does not")
    others = [place for place in places if place.deployment != deployment]
    shares = apportioned({p.deployment: p.traffic for p in others}, total=ALL - traffic)
    kept = [replace(place, traffic=shares[place.deployment]) for place in others]
    return [*kept, Place(deployment=deployment, role=TRIAL, traffic=traffic)]


def promote(places: Sequence[Place], *, deployment: int) -> list[Place]:
    """The deployment serves with its own traffic and that of those who served; they retire."""
    if _is(places, deployment, role=SERVING):
        raise PlacesError("this deployment serves the slot already")
    freed = sum(p.traffic for p in places if p.role == SERVING or p.deployment == deployment)
    kept = [
        Place(deployment=place.deployment, role=RETIRED, traffic=0)
        if place.role == SERVING
        else place
        for place in places
        if place.deployment != deployment
    ]
    return [*kept, Place(deployment=deployment, role=SERVING, traffic=freed if kept else ALL)]


def retire(places: Sequence[Place], *, deployment: int) -> list[Place]:
    """The deployment takes no more traffic; its share goes to the others in proportion."""
    if not any(p.deployment == deployment and p.role != RETIRED for p in places):
        raise PlacesError("this deployment has no active place in the slot")
    others = {p.deployment: p.traffic for p in places if p.deployment != deployment}
    shares = {**apportioned(others, total=ALL), deployment: 0}
    changed = [
        replace(
            place,
            traffic=shares[place.deployment],
            role=RETIRED if place.deployment == deployment else place.role,
        )
        for place in places
    ]
    if not any(place.role == SERVING for place in changed):
        raise PlacesError("the last serving deployment cannot retire: promote another one first")
    return changed


def set_traffic(places: Sequence[Place], *, shares: Mapping[int, int]) -> list[Place]:
    """Give every active deployment the share named; they sum to 100."""
    active = {place.deployment for place in places if place.role != RETIRED}
    if set(shares) != active:
        raise PlacesError("name the share of every serving and trial deployment, and of no other")
    if sum(shares.values()) != ALL or any(not 0 <= share <= ALL for share in shares.values()):
        raise PlacesError(f"the shares sum to {sum(shares.values())}: they must sum to 100")
    return [replace(place, traffic=shares.get(place.deployment, 0)) for place in places]


def _is(places: Sequence[Place], deployment: int, *, role: str) -> bool:
    return any(place.deployment == deployment and place.role == role for place in places)
