"""Give a second opinion and take the next item: stored together, or neither.

Knows the queue and the judging; one transaction holds both, because each waits for the disk.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import IntegrityError

from comparisons.models import Comparison, Crowdworker, Showing
from comparisons.queries import opinions as queue
from comparisons.services import judging, opinions


@dataclass(frozen=True, kw_only=True)
class Given:
    """The opinion as it stands, and what the person reads next."""

    comparison: Comparison
    following: Showing | None


def give_opinion(
    showing: Showing,
    crowdworker: Crowdworker,
    *,
    side: str,
    strength: int,
    text_sha256: Mapping[str, str],
    choice_key: uuid.UUID,
    is_both_bad: bool = False,
    reason_tags: Sequence[str] = (),
    reason_text: str = "",
    active_milliseconds: int | None = None,
    theme: str = "",
    layout: str = "",
) -> Given:
    """Record the choice once, however often it is sent; what waits is looked up before the lock."""
    showing.layout = layout or showing.layout  # as its page says, kept with the choice
    outlook = opinions.look(crowdworker, besides=showing)
    taken: list[int | None] = []
    record = partial(
        judging.record_choice,
        showing,
        side=side,
        strength=strength,
        text_sha256=text_sha256,
        choice_key=choice_key,
        is_both_bad=is_both_bad,
        reason_tags=reason_tags,
        reason_text=reason_text,
        active_milliseconds=active_milliseconds,
    )
    try:
        comparison = record(along=lambda: taken.append(opinions.claim(outlook, theme=theme)))
    except IntegrityError:  # what was to be read next was taken in another tab just now
        taken.clear()
        comparison = record()
    if taken and taken[-1]:
        return Given(comparison=comparison, following=queue.item(taken[-1]))
    return Given(comparison=comparison, following=opinions.take(crowdworker, theme=theme))
