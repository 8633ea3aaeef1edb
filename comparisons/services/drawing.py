"""Draw the two responses of a turn: who answers, on which side, shown to whom and how.

Knows slots, turns and showings; the responses' text is written by `generating`.
"""

import random
import secrets
from dataclasses import dataclass

from django.utils.translation import gettext as _

from comparisons.core.pairing import NothingToPair, Pair, choose_pair
from comparisons.models import Campaign, Crowdworker, InstructionVersion, Response, Showing, Turn
from modelserving.models import Deployment, Slot

_rng = random.SystemRandom()


class NothingServes(Exception):
    """No deployment takes traffic in the campaign's slot."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the person sees the two responses: kept with the showing for audits of position bias."""

    layout: str = ""  # side_by_side, stacked
    theme: str = ""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The outcome of the pairing rule, with what has to be stored beside it."""

    pair: Pair
    slot_generation: int
    is_held_back: bool


def draw_pair(campaign: Campaign) -> Draw:
    """Two deployments and their sides, drawn by the campaign's rule from its slot as it is now."""
    slot = Slot.objects.get(pk=campaign.slot_id)
    places = list(slot.places.values_list("deployment_id", "role", "traffic"))
    try:
        pair = choose_pair(places, rule=campaign.pairing_rule, rng=_rng)
    except NothingToPair as error:
        raise NothingServes(_("The models are not answering. Try again in a minute.")) from error
    ids = {pair.side_a, pair.side_b}
    is_held_back = any(each.is_held_back for each in Deployment.objects.filter(pk__in=ids))
    return Draw(pair=pair, slot_generation=slot.generation, is_held_back=is_held_back)


def add_responses(turn: Turn, *, draw: Draw, crowdworker: Crowdworker, look: Look) -> Showing:
    """Two pending responses and the showing that says which side each is on."""
    seeds = _rng.sample(range(1, 2**31), 2)
    side_a, side_b = (
        Response.objects.create(turn=turn, deployment_id=deployment, seed=seed)
        for deployment, seed in zip((draw.pair.side_a, draw.pair.side_b), seeds, strict=True)
    )
    return Showing.objects.create(
        turn=turn,
        crowdworker=crowdworker,
        side_a=side_a,
        side_b=side_b,
        instruction_version=current_instructions(turn.conversation.campaign),
        layout=look.layout,
        theme=look.theme,
        is_covered=is_covered(crowdworker, turn.conversation.campaign),
    )


def current_instructions(campaign: Campaign | None) -> InstructionVersion | None:
    """The wording in force, None while nothing was published."""
    if campaign is None:
        return None
    return campaign.instruction_versions.order_by("-version").first()


def is_covered(crowdworker: Crowdworker, campaign: Campaign | None) -> bool:
    """Whether both responses start out covered for this person: red-team text, unless they said never."""
    is_red_team = campaign is not None and campaign.is_red_team
    return is_red_team and crowdworker.cover_responses != "never"


def is_coin_heads() -> bool:
    """A fair coin for the sides of a second opinion."""
    return secrets.randbits(1) == 1
