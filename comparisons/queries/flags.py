"""Which turns a flag speaks of: the flagged one and all that follow it, for those quote it.

Knows flags and turns; what a flag is good for is said where it is asked.
"""

from django.db.models import Exists, OuterRef, Q

from comparisons.models import Flag

HEEDED = Q(is_heeded=True)
PERSONAL_DATA = Q(kind=Flag.Kind.PERSONAL_DATA, resolved_at__isnull=True)


def flagged(which: Q) -> Q:
    """Of rows that have a `turn`: such a flag stands at that turn or before it in its conversation.

    The few conversations that have one are asked for first, so that no other row is looked at by itself.
    """
    flags = Flag.objects.filter(which)
    before = flags.filter(
        turn__conversation=OuterRef("turn__conversation"), turn__index__lte=OuterRef("turn__index")
    )
    conversations = flags.order_by().values("turn__conversation")
    return Q(turn__conversation__in=conversations) & Q(Exists(before))
