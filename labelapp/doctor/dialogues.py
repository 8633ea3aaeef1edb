"""Checks of conversations and choices: at most one, meaningful, and a prefix of what follows.

Reads the database only; the numbers I2, I4 and I5 are those of docs/operations.md.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, F, Q
from django.utils.timezone import now

from comparisons.models import Comparison, Crowdworker, Response, Showing, Turn
from comparisons.queries.dialogues import messages_of
from labelapp.doctor.findings import Check, Finding, named, warning

STUCK_AFTER = timedelta(minutes=3)
RESTORE = "restore the database from the newest backup on which the doctor is content"


def one_choice_each() -> Iterator[Finding]:
    """I2: one standing comparison per turn and person; one continuation per turn."""
    standing = Comparison.objects.filter(superseded_at__isnull=True, crowdworker__isnull=False)
    pairs = standing.values("turn", "crowdworker").annotate(n=Count("pk")).filter(n__gt=1)
    for turns in named(pair["turn"] for pair in pairs):
        yield Finding(what=f"judged twice by one person: turns {turns}", cure=RESTORE)
    foreign = Turn.objects.filter(continued_by__isnull=False).exclude(
        continued_by__turn=F("pk"), continued_by__superseded_at__isnull=True
    )
    for turns in named(foreign.values_list("pk", flat=True)):
        yield Finding(
            what=f"continued by an undone comparison or another turn's: turns {turns}", cure=RESTORE
        )
    for turns in named(_in_the_wrong_state()):
        yield Finding(what=f"state and continuation disagree: turns {turns}", cure=RESTORE)


def choices_mean_something() -> Iterator[Finding]:
    """I4: picked and other belong to the turn and to what was shown, both complete."""
    shown = Q(picked=F("showing__side_a"), other=F("showing__side_b")) | Q(
        picked=F("showing__side_b"), other=F("showing__side_a")
    )
    whole = Q(
        picked__turn=F("turn"), other__turn=F("turn"), showing__turn=F("turn"),
        picked__state=Response.State.READY, other__state=Response.State.READY,
    )  # fmt: skip
    for ids in named(Comparison.objects.exclude(shown & whole).values_list("pk", flat=True)):
        yield Finding(what=f"about responses that were not shown or not whole: {ids}", cure=RESTORE)
    sides = Q(side="A", picked=F("showing__side_a")) | Q(side="B", picked=F("showing__side_b"))
    turned = Comparison.objects.exclude(side="").exclude(sides)
    for ids in named(turned.values_list("pk", flat=True)):
        yield Finding(what=f"side and picked response disagree: comparisons {ids}", cure=RESTORE)


def texts_are_unchanged() -> Iterator[Finding]:
    """I4: every response still has the text whose hash it was judged by."""
    for ids in named(_changed_responses()):
        yield Finding(
            what=f"text differs from its hash: responses {ids}",
            cure="somebody edited rows by hand: " + RESTORE,
        )


def prompts_are_prefixes() -> Iterator[Finding]:
    """I5: every response was written to exactly the dialogue that stands before it."""
    for ids in named(_misprompted_responses()):
        yield Finding(
            what=f"written to another dialogue than the one stored before it: responses {ids}",
            cure="set their comparisons aside under Manage, Quality; then look at what edited the rows",
        )


def nothing_is_stuck() -> Iterator[Finding]:
    """A turn that is being written has somebody who writes it."""
    old = now() - STUCK_AFTER
    stuck = Turn.objects.filter(state=Turn.State.GENERATING, created_at__lt=old).filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=old)
    )
    for ids in named(stuck.values_list("pk", flat=True)):
        yield warning(
            what=f"waiting for responses with nobody writing them: turns {ids}",
            cure="see that beat and the generation worker run (./start runs both)",
        )


def nothing_is_orphaned() -> Iterator[Finding]:
    """Every response of a turn that was shown belongs to a showing; every live turn has one."""
    bare = Turn.objects.exclude(state=Turn.State.SKIPPED).filter(showings__isnull=True)
    for ids in named(bare.values_list("pk", flat=True)):
        yield Finding(what=f"shown to nobody: turns {ids}", cure=RESTORE)
    foreign = Showing.objects.exclude(side_a__turn=F("turn"), side_b__turn=F("turn"))
    for ids in named(foreign.values_list("pk", flat=True)):
        yield Finding(what=f"showing responses of another turn: showings {ids}", cure=RESTORE)


def _in_the_wrong_state() -> Iterator[int]:
    chosen = Q(state=Turn.State.CHOSEN)
    wrong = Q(continued_by__isnull=False) & ~chosen | Q(continued_by__isnull=True) & chosen
    ours = Turn.objects.filter(conversation__crowdworker__isnull=False)
    yield from ours.filter(wrong).values_list("pk", flat=True)


def _changed_responses() -> Iterator[int]:
    ready = Response.objects.filter(
        state=Response.State.READY, turn__conversation__is_withdrawn=False
    ).exclude(author__standing=Crowdworker.Standing.WITHDRAWN)  # blanked, also in others' dialogues
    for pk, text, digest in ready.values_list("pk", "text", "text_sha256").iterator(
        chunk_size=2000
    ):
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            yield pk


def _misprompted_responses() -> Iterator[int]:
    turns = Turn.objects.filter(
        conversation__is_withdrawn=False, responses__state=Response.State.READY,
        responses__deployment__isnull=False,
    )  # fmt: skip
    for turn in turns.distinct().iterator(chunk_size=500):
        expected = _prompt_sha256(turn)
        written = turn.responses.filter(state=Response.State.READY, deployment__isnull=False)
        yield from written.exclude(prompt_sha256=expected).values_list("pk", flat=True)


def _prompt_sha256(turn: Turn) -> str:
    messages = [{"role": m["role"], "content": m["content"]} for m in messages_of(turn)]
    text = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


CHECKS = (
    Check(name="one-choice", promise="one choice per turn and person", look=one_choice_each),
    Check(name="meaning", promise="choices are about what was shown", look=choices_mean_something),
    Check(name="texts", promise="texts are as they were judged", look=texts_are_unchanged),
    Check(name="prefix", promise="dialogues go on from the pick", look=prompts_are_prefixes),
    Check(name="turns", promise="no turn waits for nobody", look=nothing_is_stuck),
    Check(name="orphans", promise="nothing hangs in the air", look=nothing_is_orphaned),
)
