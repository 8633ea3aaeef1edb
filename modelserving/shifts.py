"""What changes do to a slot's places, deployment by deployment: before a roll-back, after it, and since when each holds.

Knows slots and their events; changes nothing, and knows neither pages nor commands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelserving.core.traffic import RETIRED, SERVING, TRIAL, Place
from modelserving.models import Deployment, PromotionEvent, Slot, SlotDeployment
from modelserving.promotion import last_promotion, places_of

ROLES = (SERVING, TRIAL, RETIRED)  # the order in which places are read


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One deployment's place before and after a change; None where it has none."""

    name: str
    before: Place | None
    after: Place | None

    @property
    def leaves(self) -> bool:
        """It took new turns before and takes none after."""
        return _is_active(self.before) and not _is_active(self.after)

    @property
    def was(self) -> str:
        """The place before, in words: "on trial, 28 %"."""
        return _worded(self.before)

    @property
    def becomes(self) -> str:
        """The place after, in words."""
        return _worded(self.after)


def shifts_of_roll_back(slot: Slot) -> list[Shift]:
    """What a roll-back would change of the slot as it stands; nothing where none is possible."""
    undone = last_promotion(slot)
    if undone is None or undone.previous is None:
        return []
    return _shifts(places_of(slot), [Place(**place) for place in undone.before])


def shifts_of(event: PromotionEvent) -> list[Shift]:
    """What the event changed."""
    before, after = ([Place(**place) for place in each] for each in (event.before, event.after))
    return _shifts(before, after)


def who_left(event: PromotionEvent) -> list[str]:
    """Names of the deployments that a roll-back put out of the draw; an event of another kind says so itself."""
    if event.kind != PromotionEvent.Kind.ROLL_BACK:
        return []
    return [shift.name for shift in shifts_of(event) if shift.leaves]


def places_with_ages(slot: Slot) -> list[SlotDeployment]:
    """The slot's places, serving first; `since` of each is when it took its role, by the slot's history.

    The column holds the last change of any kind, also of a share that another deployment's trial took from it.
    """
    began: dict[int, datetime] = {}
    for event in slot.events.order_by("-pk"):
        for key in {each["deployment"] for each in event.after} - began.keys():
            if _role_of(key, places=event.before) != _role_of(key, places=event.after):
                began[key] = event.at
    found = list(slot.places.select_related("deployment__checkpoint"))
    for place in found:
        place.since = began.get(place.deployment_id, place.since)
    return sorted(found, key=lambda place: (ROLES.index(place.role), -place.traffic, place.pk))


def _role_of(deployment: int, *, places: Sequence[Mapping[str, Any]]) -> str | None:
    return next((each["role"] for each in places if each["deployment"] == deployment), None)


def _shifts(before: Sequence[Place], after: Sequence[Place]) -> list[Shift]:
    stood = {place.deployment: place for place in before}
    stands = {place.deployment: place for place in after}
    found = Deployment.objects.in_bulk([*stood, *stands])
    every = [
        Shift(name=found[key].name, before=stood.get(key), after=stands.get(key))
        for key in {**stood, **stands}
    ]
    return [shift for shift in every if shift.before != shift.after]


def _is_active(place: Place | None) -> bool:
    return place is not None and place.role != RETIRED


def _worded(place: Place | None) -> str:
    if place is None:
        return "not in the slot"
    role = SlotDeployment.Role(place.role).label
    return f"{role}, {place.traffic} %" if _is_active(place) else role
