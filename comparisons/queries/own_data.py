"""Everything that is kept about one person, for that person.

Reads only; deployments and other people's judgements are left out. A test names each column that is not
in the file, and why.
"""

from typing import Any

from django.db.models import Model, Q, QuerySet

from comparisons.models import (
    Account,
    ApiToken,
    Arrival,
    Assignment,
    AuditEntry,
    ChoiceUndo,
    Comparison,
    ConsentRecord,
    Conversation,
    Crowdworker,
    Flag,
    LapsedReply,
    PassedReply,
    Payslip,
    PlatformEvent,
    QualificationAnswer,
    QualificationAttempt,
    QualificationResult,
    Response,
    Showing,
    SignInLink,
    Turn,
    WantedReply,
)
from comparisons.queries.transcripts import turn_views

COLUMNS: dict[type[Model], tuple[str, ...]] = {
    Account: (
        "username", "first_name", "last_name", "email", "role", "public_id", "theme", "language",
        "has_single_keys", "key_map", "date_joined", "last_login",
    ),
    SignInLink: ("created_at", "expires_at", "used_at"),
    ApiToken: ("name", "scope", "created_at", "expires_at", "revoked_at", "last_used_at"),
    AuditEntry: ("at", "action", "object_type", "object_id", "detail"),
    Crowdworker: (
        "public_id", "pseudonym", "platform", "pool", "standing", "standing_reason", "created_at",
        "is_red_team_opted_in", "comfort", "cover_responses", "topic_opt_outs", "withdrawn_at",
    ),
    ConsentRecord: (
        "instruction_version__campaign__title", "instruction_version__version", "agreed_at",
    ),
    Assignment: (
        "public_id", "campaign__title", "state", "conversations_required", "external_platform",
        "external_study_id", "external_submission_id", "pay_rule", "active_milliseconds",
        "counted_since", "lease_until", "created_at", "submitted_at", "accepted_at", "paid_at",
    ),
    Arrival: (
        "assignment__public_id", "source__platform", "submit_to", "platform_status", "created_at",
    ),
    PlatformEvent: (
        "assignment__public_id", "platform", "event_id", "event_type", "status", "received_at",
    ),
    Conversation: (
        "public_id", "assignment__public_id", "campaign__title", "position", "state", "objective",
        "origin", "opening", "intent", "topic", "overall_rating", "questionnaire", "comment",
        "active_milliseconds", "is_withdrawn", "created_at", "finished_at",
    ),
    Turn: ("public_id", "index", "message", "state", "skip_reason", "regenerations", "created_at"),
    Showing: (
        "public_id", "turn__public_id", "purpose", "instruction_version__version", "layout",
        "theme", "is_covered", "created_at", "lease_until", "replaced_at", "judged_at",
    ),
    Comparison: (
        "public_id", "showing__public_id", "turn__public_id", "side", "strength", "is_both_bad",
        "question", "objective", "origin", "reason_tags", "reason_text", "active_milliseconds",
        "created_at", "superseded_at", "set_aside_at", "set_aside_cause", "set_aside_reason",
    ),
    ChoiceUndo: ("comparison__public_id", "at"),
    Flag: ("turn__public_id", "kind", "note", "created_at", "resolved_at", "is_heeded"),
    Response: ("turn__public_id", "state", "text", "finish_reason", "created_at", "completed_at"),
    WantedReply: (
        "public_id", "turn__public_id", "lease_until", "active_milliseconds", "written_at",
    ),
    PassedReply: ("wanted__public_id", "reason", "at"),
    LapsedReply: ("wanted__public_id", "shown_at"),
    Payslip: (
        "public_id", "campaign__title", "kind", "state", "piece_count", "rate", "amount",
        "currency", "active_milliseconds", "submitted_at", "accepted_at", "paid_at",
    ),
    QualificationAttempt: (
        "public_id", "qualification__campaign__title", "qualification__version", "number",
        "begun_at",
    ),
    QualificationAnswer: (
        "attempt__public_id", "item__number", "picked_side", "strength", "is_mirrored", "is_right",
        "active_milliseconds", "answered_at",
    ),
    QualificationResult: ("attempt__public_id", "right", "total", "is_passed", "at"),
}  # fmt: skip


def own_data(crowdworker: Crowdworker) -> dict[str, Any]:
    """Account, profile and every row of the person's, by kind; rows name each other by public ids."""
    account = Account.objects.filter(pk=crowdworker.account_id)
    profile = Crowdworker.objects.filter(pk=crowdworker.pk)
    found = {**_of_the_account(crowdworker), **_of_the_work(crowdworker)}
    conversations = list(crowdworker.conversations.select_related("campaign").order_by("pk"))
    rows = {row["public_id"]: row for row in _rows(crowdworker.conversations.all())}
    return {
        "account": _rows(account)[0],
        "profile": _rows(profile)[0],
        **{kind: _rows(each) for kind, each in found.items()},
        "conversations": [
            {**rows[each.public_id], "turns": _turns(each)} for each in conversations
        ],
    }


def _of_the_account(crowdworker: Crowdworker) -> dict[str, QuerySet[Any]]:
    account = crowdworker.account_id
    about = Q(object_type="crowdworker", object_id=str(crowdworker.public_id))
    return {
        "sign_in_links": SignInLink.objects.filter(account=account),
        "api_tokens": ApiToken.objects.filter(account=account),
        "decisions": AuditEntry.objects.filter(about | Q(actor=account)),
        "consents": crowdworker.consents.all(),
        "paid_by_the_piece": crowdworker.payslips.all(),
    }


def _of_the_work(crowdworker: Crowdworker) -> dict[str, QuerySet[Any]]:
    came = {"assignment__crowdworker": crowdworker}
    tried = {"attempt__crowdworker": crowdworker}
    return {
        "practice": crowdworker.qualification_attempts.all(),
        # what was right is told at the end of an attempt, here as on its page
        "practice_answers": QualificationAnswer.objects.filter(
            **tried, attempt__result__isnull=False
        ),
        "practice_results": QualificationResult.objects.filter(**tried),
        "assignments": crowdworker.assignments.all(),
        "arrivals": Arrival.objects.filter(**came),
        "platform_events": PlatformEvent.objects.filter(**came),
        "shown": crowdworker.showings.all(),
        "choices": crowdworker.comparisons.all(),
        "undone_choices": crowdworker.undos.all(),
        "flags": crowdworker.flags.all(),
        "written_responses": crowdworker.written_responses.all(),
        "replies_asked_for": crowdworker.wanted_replies.all(),
        "replies_given_back": crowdworker.passed_replies.all(),
        "replies_lapsed": crowdworker.lapsed_replies.all(),
    }


def _rows(found: QuerySet[Any]) -> list[dict[str, Any]]:
    columns = COLUMNS[found.model]
    return [
        {name.replace("__", "_"): value for name, value in row.items()}
        for row in found.order_by("pk").values(*columns)
    ]


def _turns(conversation: Conversation) -> list[dict[str, Any]]:
    """What was said, what answered it, and what was picked; text that is held back stays so."""
    views = turn_views(conversation)
    rows = {row["index"]: row for row in _rows(conversation.turns.all())}
    return [
        {
            **rows[turn.number - 1],
            "responses": {side.letter: side.text for side in turn.sides},
            "picked": turn.picked_side,
            "strength": turn.picked_strength or None,
        }
        for turn in views
    ]
