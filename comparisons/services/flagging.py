"""A crowdworker's note that something in a turn needs a person's look.

Knows the turn and the note; what happens with it is decided by staff.
"""

from django.db import transaction

from comparisons.core.cleaning import cleaned
from comparisons.models import Crowdworker, Flag, Turn
from comparisons.services import onboarding


def flag_turn(turn: Turn, crowdworker: Crowdworker, *, kind: str, note: str = "") -> Flag:
    """One open flag per turn, person and kind; a second note replaces the first."""
    with transaction.atomic():
        onboarding.check_active(Crowdworker.objects.select_for_update().get(pk=crowdworker.pk))
        flag, _ = Flag.objects.update_or_create(
            turn=turn,
            crowdworker=crowdworker,
            kind=Flag.Kind(kind),
            resolved_at=None,
            defaults={"note": cleaned(note)[:2000]},
        )
    return flag
