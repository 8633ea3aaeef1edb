"""`python -m labelapp.bench.stocking`: fill an empty database with people and second-opinion work.

Writes rows past the services because there are many; knows nothing of what will be measured.
"""

import argparse
import json
import random
import secrets
from hashlib import sha256
from itertools import count

import django

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402 -- after setup
from django.db import connection, transaction  # noqa: E402

from comparisons.core.splits import first_message_sha256  # noqa: E402
from comparisons.models import (  # noqa: E402
    Account,
    Campaign,
    Comparison,
    ConsentRecord,
    Conversation,
    Crowdworker,
    InstructionVersion,
    Response,
    Showing,
    Turn,
)
from modelserving.models import Slot  # noqa: E402

TURNS = 4  # of a conversation
WORDS = ("calm", "sea", "under", "two", "old", "boats", "turns", "blue", "and", "then", "green")


def main() -> None:
    """Write the rows and say who may sign in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--campaign", default="", help="people for this one, and no items")
    asked = parser.parse_args()
    with transaction.atomic():
        password = secrets.token_urlsafe(12)
        campaign, version = _standing(asked.campaign) if asked.campaign else _campaign()
        people = _people(asked.people + 1, password=password, version=version)
        if not asked.campaign:
            _work(campaign, author=people[-1], items=asked.items)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # the server does so by itself within a minute
            cursor.execute("ANALYZE")
    names = [each.account.username for each in people[:-1]]
    print(json.dumps({"password": password, "names": names}))


def _standing(slug: str) -> tuple[Campaign, InstructionVersion]:
    campaign = Campaign.objects.get(slug=slug)
    return campaign, campaign.instruction_versions.latest("version")


def _campaign() -> tuple[Campaign, InstructionVersion]:
    campaign = Campaign.objects.create(
        slug="bench", title="Bench", objective="helpful", question="more_helpful",
        state=Campaign.State.LIVE, slot=Slot.objects.create(name="bench"),
        second_opinion_percent=100,
    )  # fmt: skip
    version = InstructionVersion.objects.create(
        campaign=campaign, version=1, summary="Read both.", body="Pick the better.", consent="Yes."
    )
    return campaign, version


def _people(number: int, *, password: str, version: InstructionVersion) -> list[Crowdworker]:
    """Crowdworkers who may all begin at once; one password, hashed as for anybody."""
    kept = make_password(password)
    accounts = Account.objects.bulk_create(
        Account(username=f"bench{n}", password=kept, role=Account.Role.CROWDWORKER)
        for n in range(number)
    )
    people = Crowdworker.objects.bulk_create(
        Crowdworker(account=account, pseudonym=f"bench-{n}", platform="simulated")
        for n, account in enumerate(accounts)
    )
    ConsentRecord.objects.bulk_create(
        ConsentRecord(crowdworker=person, instruction_version=version) for person in people
    )
    return people


def _work(campaign: Campaign, *, author: Crowdworker, items: int) -> None:
    """Chosen turns of one author, each waiting for its second opinion."""
    rng = random.Random(20261124)
    turns = _turns(campaign, author=author, number=items, rng=rng)
    pairs = _responses(turns, rng=rng)
    shown = _showings(turns, pairs, purpose=Showing.Purpose.AUTHOR, crowdworker=author)
    chosen = Comparison.objects.bulk_create(
        (
            Comparison(
                showing=showing, turn=turn, crowdworker=author, picked=one, other=two, side="A",
                strength=2, question=campaign.question, objective=campaign.objective,
                origin="simulated",
            )
            for turn, (one, two), showing in zip(turns, pairs, shown, strict=True)
        ),
        batch_size=500,
    )  # fmt: skip
    for turn, comparison in zip(turns, chosen, strict=True):
        turn.continued_by = comparison
    Turn.objects.bulk_update(turns, ["continued_by"], batch_size=200)
    _showings(turns, pairs, purpose=Showing.Purpose.SECOND_OPINION, crowdworker=None)


def _turns(
    campaign: Campaign, *, author: Crowdworker, number: int, rng: random.Random
) -> list[Turn]:
    conversations = Conversation.objects.bulk_create(
        (
            Conversation(
                crowdworker=author, campaign=campaign, objective=campaign.objective,
                origin="simulated", state=Conversation.State.FINISHED,
                first_message_sha256=first_message_sha256(f"{n}"),
            )
            for n in range(-(-number // TURNS))
        ),
        batch_size=500,
    )  # fmt: skip
    texts = (_text(rng, words=25) for _ in count())
    drafts = (
        Turn(
            conversation=conversation, index=index, message=text,
            message_sha256=sha256(text.encode()).hexdigest(), state=Turn.State.CHOSEN,
        )
        for conversation in conversations
        for index, text in zip(range(TURNS), texts, strict=False)
    )  # fmt: skip
    return Turn.objects.bulk_create(drafts, batch_size=500)


def _responses(turns: list[Turn], *, rng: random.Random) -> list[tuple[Response, Response]]:
    drafts = []
    for turn in turns:
        for text in (_text(rng, words=90), _text(rng, words=90)):
            drafts.append(  # noqa: PERF401 -- two texts a turn, each used twice
                Response(
                    turn=turn, state=Response.State.READY, text=text, finish_reason="stop",
                    text_sha256=sha256(text.encode()).hexdigest(),
                )
            )  # fmt: skip
    made = Response.objects.bulk_create(drafts, batch_size=500)
    return list(zip(made[::2], made[1::2], strict=True))


def _showings(
    turns: list[Turn],
    pairs: list[tuple[Response, Response]],
    *,
    purpose: str,
    crowdworker: Crowdworker | None,
) -> list[Showing]:
    drafts = (
        Showing(turn=turn, purpose=purpose, crowdworker=crowdworker, side_a=one, side_b=two)
        for turn, (one, two) in zip(turns, pairs, strict=True)
    )
    return Showing.objects.bulk_create(drafts, batch_size=500)


def _text(rng: random.Random, *, words: int) -> str:
    chosen = " ".join(rng.choice(WORDS) for _ in range(words))
    return f"{chosen.capitalize()} ({rng.getrandbits(48):x})."


if __name__ == "__main__":
    main()
