"""Dialogues as they happened: conversations, turns, responses, and who saw which two of them where.

Knows nothing of what was preferred, except which comparison carries the dialogue on.
"""

import uuid

from django.db import models
from django.db.models import F, Q

from comparisons.models.assignment import Assignment
from comparisons.models.campaign import Campaign, InstructionVersion, Objective, Origin
from comparisons.models.crowdworker import Crowdworker
from modelserving.models import Deployment


class Conversation(models.Model):
    """A dialogue of one crowdworker within an assignment; imported ones have neither."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        FINISHED = "finished", "finished"
        ABANDONED = "abandoned", "abandoned"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, null=True, related_name="conversations"
    )
    assignment = models.ForeignKey(
        Assignment, on_delete=models.PROTECT, null=True, related_name="conversations"
    )
    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, null=True, related_name="conversations"
    )
    position = models.PositiveSmallIntegerField(null=True)  # 1..N within the assignment, if counted
    state = models.CharField(max_length=12, choices=State, default=State.OPEN)
    objective = models.CharField(max_length=12, choices=Objective)
    origin = models.CharField(max_length=12, choices=Origin, default=Origin.CROWD)
    opening = models.JSONField(
        default=list
    )  # [{"role", "content"}] before the first turn of ours (imports)
    first_message_sha256 = models.CharField(
        max_length=64, blank=True, db_index=True
    )  # also of a skipped one; a release splits by the first in the dialogue
    intent = models.TextField(blank=True)  # red team: what the person will try
    topic = models.CharField(max_length=24, blank=True)  # red team: what it touches, empty: unsaid
    overall_rating = models.PositiveSmallIntegerField(null=True)  # 1 bad .. 4 good
    questionnaire = models.JSONField(
        default=dict
    )  # red team: success, harmfulness, actionability, 1..5
    comment = models.TextField(blank=True)
    active_milliseconds = models.PositiveBigIntegerField(default=0)
    is_withdrawn = models.BooleanField(default=False)  # text blanked, row and hashes kept
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["assignment", "position"], name="one_conversation_per_assignment_position"
            ),
        ]
        indexes = [models.Index(fields=["finished_at"], name="conversations_finished")]


class Turn(models.Model):
    """One human message and the responses to it. `attempt` fences writers; the lease says who fills it."""

    class State(models.TextChoices):
        GENERATING = "generating", "responses are being written"
        READY = "ready", "both responses are complete"
        FAILED = "failed", "a response could not be written"
        CHOSEN = "chosen", "chosen"
        SKIPPED = "skipped", "skipped"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="turns")
    index = models.PositiveIntegerField()  # 0-based, skipped turns counted
    message = models.TextField()
    message_sha256 = models.CharField(max_length=64)
    message_key = models.UUIDField(null=True, unique=True)  # client-made idempotency key
    state = models.CharField(max_length=12, choices=State, default=State.GENERATING)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    is_held_back = models.BooleanField(default=False)  # best-of-k on a side: both appear together
    is_stop_requested = models.BooleanField(default=False)
    slot_generation = models.PositiveIntegerField(null=True)
    pairing_rule = models.CharField(max_length=24, blank=True)
    pair_probability = models.FloatField(null=True)  # of this ordered pair under the rule
    continued_by = models.OneToOneField(
        "comparisons.Comparison", on_delete=models.PROTECT, null=True, related_name="continues"
    )
    skip_reason = models.CharField(max_length=40, blank=True)
    regenerations = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "index"], name="one_turn_per_conversation_index"
            ),
        ]
        indexes = [models.Index(fields=["state", "lease_until"])]


class Response(models.Model):
    """A stored reply. Its author is a deployment or a crowdworker; an imported one has neither."""

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        READY = "ready", "ready"
        FAILED = "failed", "failed"

    class FinishReason(models.TextChoices):
        STOP = "stop", "ended by itself"
        LENGTH = "length", "reached the length limit"
        STOPPED = "stopped", "stopped by the person"
        WRITTEN = "written", "written by a person"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    turn = models.ForeignKey(Turn, on_delete=models.PROTECT, related_name="responses")
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, null=True, related_name="responses"
    )
    author = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, null=True, related_name="written_responses"
    )
    edited_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="edits"
    )
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    text = models.TextField(blank=True)
    text_sha256 = models.CharField(max_length=64, blank=True)
    finish_reason = models.CharField(max_length=12, choices=FinishReason, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    attempt = models.PositiveIntegerField(default=0)  # the attempt that stored it; 0 while pending
    tries = models.PositiveSmallIntegerField(default=0)  # asked for again by the person
    seed = models.BigIntegerField(null=True)
    sampling = models.JSONField(default=dict)
    prompt_sha256 = models.CharField(max_length=64, blank=True)
    token_ids = models.JSONField(default=list)
    pm_score = models.FloatField(null=True)
    candidates = models.JSONField(default=list)  # best-of-k: every sample with its score
    first_token_milliseconds = models.PositiveIntegerField(null=True)
    total_milliseconds = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(deployment__isnull=True) | Q(author__isnull=True),
                name="a_response_has_one_author",
            ),
            models.CheckConstraint(
                condition=~Q(state="ready") | (~Q(text_sha256="") & ~Q(finish_reason="")),
                name="a_ready_response_is_complete",
            ),
        ]


class Showing(models.Model):
    """Two responses of a turn as one person saw them: which was side A and which B, and how."""

    class Purpose(models.TextChoices):
        AUTHOR = "author", "the person who wrote the message"
        SECOND_OPINION = "second_opinion", "second opinion"
        IMPORTED = "imported", "imported: sides unknown"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    turn = models.ForeignKey(Turn, on_delete=models.PROTECT, related_name="showings")
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, null=True, related_name="showings"
    )
    purpose = models.CharField(max_length=16, choices=Purpose, default=Purpose.AUTHOR)
    side_a = models.ForeignKey(Response, on_delete=models.PROTECT, related_name="+")
    side_b = models.ForeignKey(Response, on_delete=models.PROTECT, related_name="+")
    instruction_version = models.ForeignKey(
        InstructionVersion, on_delete=models.PROTECT, null=True, related_name="+"
    )
    layout = models.CharField(max_length=16, blank=True)  # side_by_side, stacked
    theme = models.CharField(max_length=8, blank=True)
    is_covered = models.BooleanField(default=False)
    lease_until = models.DateTimeField(null=True)  # second opinions: whose it is until when
    replaced_at = models.DateTimeField(null=True)  # asked for two new responses, or lease over
    judged_at = models.DateTimeField(null=True)  # second opinions: when the choice was stored
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(side_a=F("side_b")), name="a_showing_has_two_responses"
            ),
            models.UniqueConstraint(
                fields=["turn", "crowdworker"],
                condition=Q(replaced_at__isnull=True),
                name="one_standing_showing_per_turn_and_crowdworker",
            ),
        ]
        indexes = [
            models.Index(  # second opinions that wait, longest first, among many imported showings
                fields=["purpose", "id"],
                condition=Q(crowdworker__isnull=True, replaced_at__isnull=True),
                name="showing_waiting",
            ),
            models.Index(  # what people hold, among all that was ever judged
                fields=["crowdworker", "lease_until"],
                condition=Q(replaced_at__isnull=True, judged_at__isnull=True),
                name="showing_held",
            ),
        ]
