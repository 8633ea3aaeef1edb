"""One person's judgement of one showing; append-only, undone by a row of its own.

Knows which response was picked; which one is "chosen" for training is read by core.transcript.
"""

import uuid

from django.db import models
from django.db.models import F, Q

from comparisons.models.campaign import Objective, Origin, Question, Tranche
from comparisons.models.conversation import Response, Showing, Turn
from comparisons.models.crowdworker import Crowdworker


class Comparison(models.Model):
    """The picked and the other response, with a strength of 1 (unsure) to 4, or null where unknown."""

    class Side(models.TextChoices):
        A = "A", "A"
        B = "B", "B"

    class SetAside(models.TextChoices):  # a later one takes the place of an earlier one
        PERSON = "person", "the person's work was set aside"  # the only one that is taken back
        FLAG = "flag", "a flag was heeded"
        WITHDRAWN = "withdrawn", "withdrawn"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    showing = models.ForeignKey(Showing, on_delete=models.PROTECT, related_name="comparisons")
    turn = models.ForeignKey(Turn, on_delete=models.PROTECT, related_name="comparisons")
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, null=True, related_name="comparisons"
    )
    picked = models.ForeignKey(Response, on_delete=models.PROTECT, related_name="picks")
    other = models.ForeignKey(Response, on_delete=models.PROTECT, related_name="passes")
    side = models.CharField(max_length=1, choices=Side, blank=True)  # empty: imported, unknown
    strength = models.PositiveSmallIntegerField(null=True)
    is_both_bad = models.BooleanField(default=False)
    question = models.CharField(max_length=16, choices=Question)
    objective = models.CharField(max_length=12, choices=Objective)
    tranche = models.CharField(max_length=20, choices=Tranche, default=Tranche.BASE)
    origin = models.CharField(max_length=12, choices=Origin, default=Origin.CROWD)
    reason_tags = models.JSONField(default=list)
    reason_text = models.TextField(blank=True)
    choice_key = models.UUIDField(null=True, unique=True)  # client-made idempotency key
    import_key = models.CharField(max_length=64, null=True, unique=True)  # unique, absent for most
    import_source = models.CharField(max_length=200, blank=True)
    active_milliseconds = models.PositiveBigIntegerField(null=True)  # from ready to choice
    superseded_at = models.DateTimeField(null=True)  # undone; the undo is a row of its own
    set_aside_at = models.DateTimeField(null=True)  # left out of releases
    set_aside_cause = models.CharField(
        max_length=12, choices=SetAside, blank=True, default="", db_default=""
    )
    set_aside_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["turn", "crowdworker"],
                condition=Q(superseded_at__isnull=True),
                name="one_standing_comparison_per_turn_and_crowdworker",
            ),
            models.CheckConstraint(
                condition=~Q(picked=F("other")), name="a_comparison_has_two_responses"
            ),
            models.CheckConstraint(
                condition=Q(strength__isnull=True) | Q(strength__gte=1, strength__lte=4),
                name="strength_is_one_to_four",
            ),
        ]
        indexes = [models.Index(fields=["objective", "tranche", "origin"])]


class ChoiceUndo(models.Model):
    """The audited undo of one comparison."""

    comparison = models.OneToOneField(Comparison, on_delete=models.PROTECT, related_name="undo")
    crowdworker = models.ForeignKey(Crowdworker, on_delete=models.PROTECT, related_name="undos")
    at = models.DateTimeField(auto_now_add=True)


class Flag(models.Model):
    """A crowdworker's note that something in a turn needs a person's look."""

    class Kind(models.TextChoices):
        PERSONAL_DATA = "personal_data", "Personal data"
        NAMES_MODEL = "names_model", "Says which model it is"
        TECHNICAL = "technical", "Technical problem"
        UPSETTING = "upsetting", "Upsetting"
        OTHER = "other", "Something else"

    turn = models.ForeignKey(Turn, on_delete=models.PROTECT, related_name="flags")
    crowdworker = models.ForeignKey(Crowdworker, on_delete=models.PROTECT, related_name="flags")
    kind = models.CharField(max_length=16, choices=Kind)
    note = models.TextField(blank=True)
    resolved_at = models.DateTimeField(null=True)
    # set aside for it: the turn and all that follow it, also those chosen later, stay out of releases
    is_heeded = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["turn", "crowdworker", "kind"],
                condition=Q(resolved_at__isnull=True),
                name="one_open_flag_per_turn_crowdworker_and_kind",
            )
        ]
