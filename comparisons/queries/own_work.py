"""What one person did beside conversations, their conversations one by one, and hints that help.

Reads only; a hint speaks of the person's own habits and never of other people's choices.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from comparisons.core.agreement import coin_probability
from comparisons.models import Comparison, Conversation, Crowdworker, Showing, Turn, WantedReply

PAGE = 30
HINT_DAYS = 7
LONG = 1200  # characters of both responses together
QUICK = 3000  # milliseconds
FEWEST = 20  # choices before a habit is spoken of
RARE = 0.001


@dataclass(frozen=True, kw_only=True)
class SideWork:
    """Second opinions and written replies of the last seven days."""

    opinions: int
    opinion_milliseconds: int
    replies: int
    reply_milliseconds: int

    @property
    def milliseconds(self) -> int:
        """Both together."""
        return self.opinion_milliseconds + self.reply_milliseconds


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A habit worth a word: which one, and the number that is said with it."""

    kind: str  # quick, side, unknown
    count: int
    side: str = ""


def side_work(crowdworker: Crowdworker) -> SideWork:
    """Counted by when it was handed in."""
    since = timezone.now() - timedelta(days=7)
    opinions = Comparison.objects.filter(
        crowdworker=crowdworker,
        showing__purpose=Showing.Purpose.SECOND_OPINION,
        created_at__gte=since,
    ).aggregate(count=Count("pk"), spent=Sum("active_milliseconds"))
    replies = WantedReply.objects.filter(crowdworker=crowdworker, written_at__gte=since).aggregate(
        count=Count("pk"), spent=Sum("active_milliseconds")
    )
    return SideWork(
        opinions=opinions["count"],
        opinion_milliseconds=opinions["spent"] or 0,
        replies=replies["count"],
        reply_milliseconds=replies["spent"] or 0,
    )


def conversations(crowdworker: Crowdworker, *, before: int | None = None) -> QuerySet[Conversation]:
    """The person's conversations, newest first; one more than a page, to know whether it goes on."""
    mine = crowdworker.conversations.select_related("campaign").filter(is_withdrawn=False)
    if before is not None:
        mine = mine.filter(pk__lt=before)
    chosen = Count("turns", filter=Q(turns__continued_by__isnull=False))
    return mine.annotate(choices=chosen).order_by("-pk")[: PAGE + 1]


def hints(crowdworker: Crowdworker) -> list[Hint]:
    """What may help this person, at most one of each kind."""
    since = timezone.now() - timedelta(days=HINT_DAYS)
    mine = Comparison.objects.filter(
        crowdworker=crowdworker, superseded_at__isnull=True, created_at__gte=since
    )
    found = []
    quick = mine.filter(active_milliseconds__lt=QUICK).annotate(
        characters=Length("picked__text") + Length("other__text")
    )
    if (count := quick.filter(characters__gte=LONG).count()) >= 3:
        found.append(Hint(kind="quick", count=count))
    sides = dict(mine.exclude(side="").order_by().values_list("side").annotate(n=Count("pk")))
    n = sum(sides.values())
    side = max(("A", "B"), key=lambda letter: sides.get(letter, 0))
    if n >= FEWEST and coin_probability(sides[side], n) < RARE:
        found.append(Hint(kind="side", count=sides[side], side=side))
    unknown = Turn.objects.filter(
        conversation__crowdworker=crowdworker, skip_reason="know_too_little", created_at__gte=since
    )
    if (count := unknown.count()) >= 3:
        found.append(Hint(kind="unknown", count=count))
    return found
