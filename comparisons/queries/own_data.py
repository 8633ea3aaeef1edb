"""Everything that is kept about one person, for that person.

Reads only; deployments and other people's judgements are left out.
"""

from typing import Any

from comparisons.models import Comparison, Crowdworker, Response
from comparisons.queries.transcripts import turn_views


def own_data(crowdworker: Crowdworker) -> dict[str, Any]:
    """Profile, consents, assignments, conversations and choices as plain values."""
    return {
        "profile": _profile(crowdworker),
        "consents": [
            {
                "campaign": consent.instruction_version.campaign.title,
                "version": consent.instruction_version.version,
                "agreed_at": consent.agreed_at.isoformat(),
            }
            for consent in crowdworker.consents.select_related("instruction_version__campaign")
        ],
        "assignments": [
            {
                "campaign": assignment.campaign.title,
                "state": assignment.state,
                "begun_at": assignment.created_at.isoformat(),
                "study": assignment.external_study_id,
                "submission": assignment.external_submission_id,
            }
            for assignment in crowdworker.assignments.select_related("campaign").order_by("pk")
        ],
        "paid_by_the_piece": _payslips(crowdworker),
        "conversations": [
            _conversation(each)
            for each in crowdworker.conversations.select_related("campaign").order_by("pk")
        ],
        "second_opinions": [
            _choice(comparison)
            for comparison in crowdworker.comparisons.exclude(
                turn__conversation__crowdworker=crowdworker
            ).select_related("picked")
        ],
        "written_responses": list(
            Response.objects.filter(author=crowdworker).values_list("text", flat=True)
        ),
    }


def _payslips(crowdworker: Crowdworker) -> list[dict[str, Any]]:
    columns = ("kind", "piece_count", "amount", "currency", "state", "submitted_at", "paid_at")
    return list(crowdworker.payslips.order_by("pk").values("campaign__title", *columns))


def _profile(crowdworker: Crowdworker) -> dict[str, Any]:
    account = crowdworker.account
    return {
        "name": account.username,
        "email": account.email,
        "pseudonym": crowdworker.pseudonym,
        "platform": crowdworker.platform,
        "pool": crowdworker.pool,
        "since": crowdworker.created_at.isoformat(),
        "red_team_opted_in": crowdworker.is_red_team_opted_in,
        "comfort": crowdworker.comfort,
        "topics_not_wanted": crowdworker.topic_opt_outs,
        "practice": list(
            crowdworker.qualification_attempts.filter(result__isnull=False).values(
                "qualification__campaign__title", "number", "result__right", "result__total"
            )
        ),
    }


def _conversation(conversation: Any) -> dict[str, Any]:
    return {
        "campaign": conversation.campaign.title if conversation.campaign else "",
        "begun_at": conversation.created_at.isoformat(),
        "state": conversation.state,
        "intent": conversation.intent,
        "comment": conversation.comment,
        "rating": conversation.overall_rating,
        "questionnaire": conversation.questionnaire,
        "is_withdrawn": conversation.is_withdrawn,
        "turns": [
            {
                "message": turn.message,
                "state": turn.state,
                "responses": {side.letter: side.text for side in turn.sides},
                "picked": turn.picked_side,
                "strength": turn.picked_strength or None,
            }
            for turn in turn_views(conversation)
        ],
    }


def _choice(comparison: Comparison) -> dict[str, Any]:
    return {
        "at": comparison.created_at.isoformat(),
        "side": comparison.side,
        "strength": comparison.strength,
        "reason": comparison.reason_text,
    }
