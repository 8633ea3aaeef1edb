"""How people's written replies fare against the deployments' (the paper's human-writer comparison).

Reads only; a second opinion of one person is one observation.
"""

from collections import defaultdict
from dataclasses import dataclass

from comparisons.core.agreement import Estimate, proportion
from comparisons.core.transcript import chosen_and_rejected
from comparisons.models import Comparison, Showing
from comparisons.models.campaign import Origin

FEWEST = 20  # below, a share is not read


@dataclass(frozen=True, kw_only=True)
class ReplyRow:
    """One deployment against people's replies."""

    deployment: str
    estimate: Estimate  # share in which the person's reply was preferred

    @property
    def value_text(self) -> str:
        """The share as it is read; empty where there are too few."""
        value = self.estimate.value
        return "" if value is None or self.estimate.n < FEWEST else f"{100 * value:.0f} %"

    @property
    def interval_text(self) -> str:
        """The interval as it is read."""
        low, high = self.estimate.low or 0.0, self.estimate.high or 0.0
        return f"{100 * low:.0f} to {100 * high:.0f}"


def reply_rows() -> list[ReplyRow]:
    """Per deployment, how often a person's reply was the better one, ties excluded as there are none."""
    won: dict[str, list[bool]] = defaultdict(list)
    judged = Comparison.objects.filter(
        showing__purpose=Showing.Purpose.SECOND_OPINION,
        turn__wanted_reply__response__isnull=False,
        superseded_at__isnull=True,
        set_aside_at__isnull=True,
        origin=Origin.CROWD,
    )
    for each in judged.select_related("picked__deployment", "other__deployment"):
        pair = {response.author_id is None: response for response in (each.picked, each.other)}
        if len(pair) < 2 or pair[True].deployment is None:
            continue
        better, _ = chosen_and_rejected(
            question=each.question, picked=str(each.picked_id), other=str(each.other_id)
        )
        won[pair[True].deployment.name].append(better == str(pair[False].pk))
    return [
        ReplyRow(deployment=name, estimate=proportion(sum(each), len(each)))
        for name, each in sorted(won.items())
    ]
