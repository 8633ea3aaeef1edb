"""What was imported, by source, and which pairs of a file are here already under other labels.

Reads only.
"""

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from django.db.models import Count, Max, Q, QuerySet

from comparisons.core.splits import first_message_sha256
from comparisons.core.transcript import Message
from comparisons.formats.pairs import Pair
from comparisons.models import AuditEntry, Comparison
from comparisons.models.campaign import Objective, Tranche

MOST_TOLD = 20
LABELLED = re.compile(
    rf"(?P<name>.*)@(?P<objective>{'|'.join(Objective.values)})/(?P<tranche>{'|'.join(Tranche.values)})",
    re.DOTALL,
)


def import_sources() -> QuerySet[Comparison, dict[str, object]]:
    """Each source with its objective, tranche, count and last day."""
    imported = Comparison.objects.filter(import_key__isnull=False).order_by()
    return (
        imported.values("import_source", "objective", "tranche", "origin")
        .annotate(count=Count("pk"), last=Max("created_at"))
        .order_by("-last", "import_source")
    )


def sources_by_label() -> list[tuple[str, str]]:
    """Each source as `NAME@OBJECTIVE/TRANCHE`, and in words: what a release can leave out."""
    rows = Comparison.objects.filter(import_key__isnull=False).order_by()
    counted = rows.values_list("import_source", "objective", "tranche").annotate(Count("pk"))
    return [
        (
            f"{name}@{objective}/{tranche}",
            f"{name or 'not named'}, {objective} {tranche}: {count:,}",
        )
        for name, objective, tranche, count in sorted(counted)
    ]


def from_sources(named: Iterable[str]) -> Q:
    """Imported comparisons of any of these sources, each `NAME` or `NAME@OBJECTIVE/TRANCHE`.

    The longer form parts what one file brought in under several labels.
    """
    wanted = list(named)
    found = Q(import_source__in=wanted)
    for each in wanted:
        if labelled := LABELLED.fullmatch(each):
            name, objective, tranche = labelled.groups()
            found |= Q(import_source=name, objective=objective, tranche=tranche)
    return Q(import_key__isnull=False) & found


def repeating_imports() -> QuerySet[AuditEntry]:
    """The last imports that brought in pairs which were here already, newest first."""
    imports = AuditEntry.objects.filter(object_type="import", detail__already_elsewhere__gt=0)
    return imports.order_by("-pk")[:MOST_TOLD]


def newest_comparison() -> int:
    """The key up to which comparisons are here now; 0 where there is none."""
    return Comparison.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def already_elsewhere(pairs: Sequence[Pair], *, up_to: int) -> int:
    """How many of these new pairs were imported under another tranche or objective, or in another format.

    Told by the hashes that are stored. First messages are indexed, and what came after `up_to`
    is left out, so that a first import asks nothing and PostgreSQL plans by statistics that hold.
    """
    if not pairs or not up_to:
        return 0
    here = _known_like(pairs, up_to=up_to)
    return sum(
        any(
            labels != (pair.objective, pair.tranche) or question_and_pick == (pair.question, pick)
            for labels, question_and_pick in here.get(identity, ())
        )
        for pair in pairs
        for identity, pick in [_identity_of(pair)]
    )


Known = tuple[
    tuple[str, str], tuple[str, str]
]  # objective and tranche; question and what is picked


def _known_like(pairs: Iterable[Pair], *, up_to: int) -> dict[str, list[Known]]:
    """The imported comparisons that may say the same, by what they say."""
    firsts = {first_message_sha256(pair.messages[0]["content"]) for pair in pairs}
    lasts = {_hash(pair.messages[-1]["content"]) for pair in pairs}
    found = Comparison.objects.filter(
        pk__lte=up_to, import_key__isnull=False, turn__message_sha256__in=lasts,
        turn__conversation__first_message_sha256__in=firsts,
    )  # fmt: skip
    known: dict[str, list[Known]] = {}
    for opening, message, picked, other, *labels in found.order_by().values_list(
        "turn__conversation__opening", "turn__message_sha256", "picked__text_sha256",
        "other__text_sha256", "objective", "tranche", "question",
    ):  # fmt: skip
        objective, tranche, question = labels
        identity = _identity(opening, message=message, replies=(picked, other))
        known.setdefault(identity, []).append(((objective, tranche), (question, picked)))
    return known


def _identity_of(pair: Pair) -> tuple[str, str]:
    """What the pair says, and the hash of what is picked in it."""
    picked, other = _hash(pair.picked), _hash(pair.other)
    message = _hash(pair.messages[-1]["content"])
    return _identity(pair.messages[:-1], message=message, replies=(picked, other)), picked


def _identity(opening: list[Message], *, message: str, replies: tuple[str, str]) -> str:
    """The same for the same dialogue and the same two replies, whichever was picked."""
    return json.dumps([opening, message, sorted(replies)], sort_keys=True)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
