"""A campaign with practice comparisons, and people who answer them."""

from comparisons.models import Campaign, Crowdworker, Qualification
from comparisons.services import qualification_publishing, qualifying
from comparisons.services.qualification_publishing import Item
from tests.comparisons.making import make_account


def item(number: int = 1, *, known_side: str = "A") -> Item:
    return Item(
        prompt=f"Question {number}?", response_a=f"Good {number}.", response_b=f"Poor {number}.",
        known_side=known_side, why=f"Because of {number}.",
    )  # fmt: skip


def with_practice(
    campaign: Campaign, *, items: int = 3, pass_mark: int = 2, attempts: int = 2
) -> Qualification:
    """The campaign asks for practice; side A of each item is the one to pick."""
    newest = campaign.qualifications.first()
    return qualification_publishing.publish(
        campaign, items=[item(number + 1) for number in range(items)], pass_mark=pass_mark,
        attempts=attempts, based_on=newest.version if newest else 0,
        actor=make_account("administrator"),
    )  # fmt: skip


def answer(
    campaign: Campaign, person: Crowdworker, item_number: int, *, is_right: bool, number: int = 1
):
    """One answer, given where the right side stands on this person's screen."""
    found = qualifying.standing(campaign).items.get(number=item_number)
    picked = found.known_side if is_right else {"A": "B", "B": "A"}[found.known_side]
    mirrored = qualifying.is_mirrored(crowdworker=person, item=found, number=number)
    return qualifying.answer(
        person, campaign, number=number, item_number=item_number, strength=3,
        side=qualifying.letter_shown(side=picked, is_mirrored=mirrored),
    )  # fmt: skip


def practise(campaign: Campaign, person: Crowdworker, *, right: int, number: int = 1) -> None:
    """A whole try with this many right answers."""
    total = qualifying.standing(campaign).items.count()
    for place in range(1, total + 1):
        answer(campaign, person, place, is_right=place <= right, number=number)
