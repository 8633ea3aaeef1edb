"""One labelling effort: its objective, its question, its versioned instructions and its rules.

Knows which slot it draws from; knows nothing of how responses are made.
"""

import re
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from modelserving.models import Slot


class Objective(models.TextChoices):
    HELPFUL = "helpful", "helpful"
    HARMLESS = "harmless", "harmless"


class Question(models.TextChoices):
    MORE_HELPFUL = "more_helpful", "which is more helpful"
    MORE_HARMFUL = "more_harmful", "which is more harmful"
    LESS_HARMFUL = "less_harmful", "which is less harmful"


class Tranche(models.TextChoices):
    BASE = "base", "base"
    REJECTION_SAMPLED = "rejection_sampled", "rejection-sampled"
    ONLINE = "online", "online"


class Origin(models.TextChoices):
    CROWD = "crowd", "crowd"
    IMPORTED = "imported", "imported"
    SIMULATED = "simulated", "simulated"


# rule → least and most: beyond these, people at work could not go on, or not be told what holds
BOUNDS = {
    "conversations_per_assignment": (1, 100),
    "turns_suggested": (1, 100),
    "max_message_characters": (50, 100_000),
    "lease_minutes": (0, 43_200),  # 30 days; that it lasts a minute is the field's own word
    "undo_seconds": (0, 86_400),
    "second_opinion_percent": (0, 100),
    "human_reply_percent": (0, 100),
    "red_team_daily_cap": (1, 10_000),
}


class Campaign(models.Model):
    """One labelling effort. A red-team campaign is objective harmless, asked for the more harmful one."""

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        LIVE = "live", "live"
        PAUSED = "paused", "paused"
        ENDED = "ended", "ended"

    class PairingRule(models.TextChoices):
        BY_TRAFFIC = "by_traffic", "two draws by traffic"
        SERVING_AGAINST_TRIAL = "serving_against_trial", "serving against trial"
        SAME_DEPLOYMENT = "same_deployment", "two samples of one deployment"

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    objective = models.CharField(max_length=12, choices=Objective)
    question = models.CharField(max_length=16, choices=Question)
    state = models.CharField(max_length=8, choices=State, default=State.DRAFT)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="campaigns")
    pairing_rule = models.CharField(
        max_length=24, choices=PairingRule, default=PairingRule.BY_TRAFFIC
    )
    tranche = models.CharField(max_length=20, choices=Tranche, default=Tranche.BASE)
    language = models.CharField(max_length=12, default="en")
    pool = models.CharField(max_length=40, blank=True)  # empty: open to every pool
    conversations_per_assignment = models.PositiveSmallIntegerField(default=5)
    turns_suggested = models.PositiveSmallIntegerField(default=4)
    max_message_characters = models.PositiveIntegerField(default=4000)
    lease_minutes = models.PositiveIntegerField(default=120, validators=[MinValueValidator(1)])
    undo_seconds = models.PositiveIntegerField(default=600)
    allows_regenerate = models.BooleanField(default=True)
    allows_edit = models.BooleanField(default=False)
    allows_write = models.BooleanField(default=False)
    second_opinion_percent = models.PositiveSmallIntegerField(default=0)
    human_reply_percent = models.PositiveSmallIntegerField(default=0)
    comparisons_wanted = models.PositiveIntegerField(null=True, blank=True)
    red_team_daily_cap = models.PositiveIntegerField(
        default=60
    )  # responses shown per person and day
    pay_amount = models.DecimalField(
        max_digits=8, decimal_places=2, default=0, validators=[MinValueValidator(0)]
    )
    pay_currency = models.CharField(max_length=3, default="USD")
    pay_per = models.CharField(max_length=12, default="assignment")  # assignment or hour
    opinion_pay = models.DecimalField(  # for each second opinion
        max_digits=8, decimal_places=3, default=0, db_default=0, validators=[MinValueValidator(0)]
    )
    reply_pay = models.DecimalField(  # for each reply written by a person
        max_digits=8, decimal_places=3, default=0, db_default=0, validators=[MinValueValidator(0)]
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(objective="helpful", question="more_helpful")
                | Q(objective="harmless", question__in=["more_harmful", "less_harmful"]),
                name="the_question_fits_the_objective",
            ),
            models.CheckConstraint(
                condition=Q(conversations_per_assignment__gte=1),
                name="an_assignment_has_a_conversation",
            ),
            models.CheckConstraint(
                condition=Q(lease_minutes__gte=1), name="a_lease_lasts_a_minute_at_least"
            ),
            models.CheckConstraint(
                condition=Q(pay_amount__gte=0), name="the_pay_of_a_campaign_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(opinion_pay__gte=0, reply_pay__gte=0),
                name="pay_by_the_piece_is_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def clean(self) -> None:
        """Rules that people can work under; raises ValidationError by field."""
        wrong = {
            name: f"Choose {least} to {most:,}."
            for name, (least, most) in BOUNDS.items()
            if isinstance(value := getattr(self, name), int) and not least <= value <= most
        }
        if not re.fullmatch("[A-Z]{3}", str(self.pay_currency)):
            wrong["pay_currency"] = "Write three capital letters, as in USD."
        if wrong:
            raise ValidationError(wrong)

    @property
    def is_red_team(self) -> bool:
        """People try to get harmful text: warnings, covers and the way out apply."""
        return self.objective == Objective.HARMLESS

    def undoable_since(self) -> datetime:
        """Choices made before cannot be taken back."""
        return timezone.now() - timedelta(seconds=self.undo_seconds)


class InstructionVersion(models.Model):
    """One published wording of a campaign's instructions and consent; never edited."""

    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, related_name="instruction_versions"
    )
    version = models.PositiveIntegerField()
    summary = models.TextField()  # Markdown: the short how-to shown beside the conversation
    body = models.TextField()  # Markdown: the whole text with worked examples
    consent = models.TextField()  # Markdown: what is published, how to withdraw
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "version"], name="one_instruction_text_per_version"
            )
        ]
