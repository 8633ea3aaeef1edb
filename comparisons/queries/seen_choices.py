"""The newest choices of one person, each beside the two responses that stood before them.

Reads only; the habits in them are queries.quality's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from comparisons.models import Comparison, Crowdworker, Showing


@dataclass(frozen=True, kw_only=True)
class SeenChoice:
    """A choice, the pair it was made of, and the text the person put in the place of both, if any."""

    choice: Comparison
    shown: Showing
    own_text: str  # empty: one of the two was picked
    edited_from: str  # the side it began as; empty: written anew

    @property
    def own_words(self) -> str:
        """How the person's own text came about."""
        if not self.own_text:
            return ""
        return (
            f"own text, edited from response {self.edited_from}"
            if self.edited_from
            else "own text, written anew"
        )


def last_choices(crowdworker: Crowdworker, *, count: int = 20) -> list[SeenChoice]:
    """The newest choices of one person with what they saw, as they saw it."""
    rows = Comparison.objects.filter(crowdworker=crowdworker, superseded_at__isnull=True)
    found = rows.select_related(
        "showing__side_a", "showing__side_b", "turn__conversation__campaign", "picked"
    ).order_by("-pk")[:count]
    choices = list(found)
    replaced = _replaced(choice for choice in choices if _is_own(choice))
    return [_seen(choice, replaced=replaced) for choice in choices]


def _is_own(choice: Comparison) -> bool:
    return choice.crowdworker_id is not None and choice.picked.author_id == choice.crowdworker_id


def _replaced(choices: Iterable[Comparison]) -> dict[int, list[Showing]]:
    """By turn, the pairs that gave way to a person's own text or to new responses, newest first."""
    people = {choice.turn_id: choice.crowdworker_id for choice in choices}
    showings = Showing.objects.filter(turn__in=people, replaced_at__isnull=False)
    found: dict[int, list[Showing]] = {}
    for showing in showings.select_related("side_a", "side_b").order_by("-pk"):
        if showing.crowdworker_id == people[showing.turn_id]:
            found.setdefault(showing.turn_id, []).append(showing)
    return found


def _seen(choice: Comparison, *, replaced: dict[int, list[Showing]]) -> SeenChoice:
    if not _is_own(choice):
        return SeenChoice(choice=choice, shown=choice.showing, own_text="", edited_from="")
    before = (each for each in replaced.get(choice.turn_id, ()) if each.pk < choice.showing_id)
    shown = next(before, choice.showing)
    sides = {shown.side_a_id: "A", shown.side_b_id: "B"}
    origin = choice.picked.edited_from_id
    return SeenChoice(
        choice=choice, shown=shown, own_text=choice.picked.text,
        edited_from=sides.get(origin, "") if origin else "",
    )  # fmt: skip
