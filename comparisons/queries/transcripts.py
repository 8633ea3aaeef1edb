"""A conversation as its page shows it: turns, sides, what was picked; never who wrote a response.

Reads only; knows letters of sides, and leaves every deployment out.
"""

import uuid
from dataclasses import dataclass

from django.utils import timezone

from comparisons.models import Comparison, Conversation, Crowdworker, Response, Showing, Turn

HEAVY = tuple(  # what no page of the crowd shows
    f"side_{side}__{column}"
    for side in "ab"
    for column in ("candidates", "token_ids", "sampling", "failure")
)


@dataclass(frozen=True, kw_only=True)
class SideView:
    """One response under its letter."""

    letter: str
    state: str
    text: str
    sha256: str
    is_stopped: bool
    is_cut: bool  # reached the length limit
    can_retry: bool
    is_picked: bool


@dataclass(frozen=True, kw_only=True)
class TurnView:
    """One message and its two responses as the writer sees them."""

    public_id: uuid.UUID
    number: int
    message: str
    state: str
    is_held_back: bool
    is_covered: bool
    is_last: bool
    can_undo: bool
    regenerations: int
    sides: tuple[SideView, ...]
    picked_side: str
    picked_strength: int
    version: str

    @property
    def is_open(self) -> bool:
        """Still to be decided: being written, ready to choose, or failed."""
        return self.state in {"generating", "ready", "failed"}

    @property
    def picked(self) -> SideView | None:
        """The side that carried the dialogue on."""
        return next((side for side in self.sides if side.is_picked), None)

    @property
    def other(self) -> SideView | None:
        """The side that was not picked."""
        return next((side for side in self.sides if not side.is_picked), None)


def conversation_of(crowdworker: Crowdworker, public_id: uuid.UUID) -> Conversation:
    """The person's own conversation; somebody else's does not exist."""
    own = crowdworker.conversations.select_related("campaign__slot", "assignment", "crowdworker")
    return own.get(public_id=public_id, is_withdrawn=False)


def turn_of(crowdworker: Crowdworker, public_id: uuid.UUID) -> Turn:
    """A turn of the person's own conversation."""
    turns = Turn.objects.select_related(
        "conversation__campaign__slot", "conversation__assignment", "conversation__crowdworker"
    )
    return turns.get(
        public_id=public_id,
        conversation__crowdworker=crowdworker,
        conversation__is_withdrawn=False,
    )


def standing_showing(turn: Turn) -> Showing:
    """What the writer of the message sees now, with both responses."""
    showings = Showing.objects.select_related(
        "side_a", "side_b", "turn__conversation__campaign", "crowdworker"
    ).defer(*HEAVY)
    return showings.get(turn=turn, purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True)


def turn_views(conversation: Conversation) -> list[TurnView]:
    """Every turn in order; the last one knows that it is the last."""
    turns = list(conversation.turns.select_related("continued_by").order_by("index"))
    showings = {
        showing.turn_id: showing
        for showing in Showing.objects.filter(
            turn__in=turns, purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True
        )
        .select_related("side_a", "side_b")
        .defer(*HEAVY)
    }
    campaign = conversation.campaign
    since = campaign.undoable_since() if campaign else timezone.now()
    return [
        _turn_view(
            turn,
            showing=showings[turn.pk],
            is_last=turn is turns[-1],
            can_undo=turn is turns[-1]
            and conversation.state == Conversation.State.OPEN
            and turn.continued_by is not None
            and turn.continued_by.created_at >= since,
        )
        for turn in turns
    ]


def _turn_view(turn: Turn, *, showing: Showing, is_last: bool, can_undo: bool) -> TurnView:
    comparison = turn.continued_by
    picked_id = comparison.picked_id if comparison else None
    hidden = turn.state == Turn.State.GENERATING and turn.is_held_back
    sides = tuple(
        _side_view(letter, response, picked_id=picked_id, is_hidden=hidden)
        for letter, response in (("A", showing.side_a), ("B", showing.side_b))
    )
    states = "".join(side.state[0] for side in sides)
    return TurnView(
        public_id=turn.public_id,
        number=turn.index + 1,
        message=turn.message,
        state=turn.state,
        is_held_back=turn.is_held_back,
        is_covered=showing.is_covered and turn.state != Turn.State.CHOSEN,
        is_last=is_last,
        can_undo=can_undo,
        regenerations=turn.regenerations,
        sides=sides,
        picked_side=comparison.side if comparison else "",
        picked_strength=(comparison.strength or 0) if comparison else 0,
        version=f"{turn.state}-{turn.regenerations}-{states}-{int(is_last)}-{int(can_undo)}",
    )


def _side_view(
    letter: str, response: Response, *, picked_id: int | None, is_hidden: bool
) -> SideView:
    is_ready = response.state == Response.State.READY and not is_hidden
    return SideView(
        letter=letter,
        state=Response.State.PENDING if is_hidden else response.state,
        text=response.text if is_ready else "",
        sha256=response.text_sha256 if is_ready else "",
        is_stopped=is_ready and response.finish_reason == Response.FinishReason.STOPPED,
        is_cut=is_ready and response.finish_reason == Response.FinishReason.LENGTH,
        can_retry=response.tries < 2,
        is_picked=response.pk == picked_id,
    )


def sides_of(showing: Showing) -> tuple[SideView, SideView]:
    """Both complete responses of a second opinion, nothing said about the first choice."""
    return (
        _side_view("A", showing.side_a, picked_id=None, is_hidden=False),
        _side_view("B", showing.side_b, picked_id=None, is_hidden=False),
    )


def undone_comparison(turn: uuid.UUID) -> Comparison | None:
    """The writer's latest choice between the two that stand, taken back since."""
    taken_back = Comparison.objects.filter(
        turn__public_id=turn,
        showing__purpose=Showing.Purpose.AUTHOR,
        showing__replaced_at__isnull=True,
        superseded_at__isnull=False,
    )
    return taken_back.order_by("-pk").first()


def standing_comparison(turn: Turn, crowdworker: Crowdworker) -> Comparison:
    """The person's own choice that stands for the turn."""
    return Comparison.objects.select_related("turn__conversation__campaign", "crowdworker").get(
        turn=turn, crowdworker=crowdworker, superseded_at__isnull=True
    )
