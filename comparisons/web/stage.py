"""What the conversation page shows at this moment: the turns and the one thing to do.

Knows states and words; every change goes through the services.
"""

import uuid
from collections.abc import Collection
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from comparisons.models import Campaign, Comparison, Conversation, Flag, Showing
from comparisons.queries.opinions import undone_opinion
from comparisons.queries.transcripts import TurnView, turn_views, undone_comparison
from comparisons.services import onboarding, preferences, wellbeing
from comparisons.services.drawing import current_instructions
from comparisons.services.judging import REASON_TAGS
from comparisons.web.account_views import key_words
from comparisons.web.error_views import wants_json
from comparisons.web.strip import ENDS, QUESTIONS, picked_words, point_of, points
from comparisons.web.topics import topic_words
from comparisons.web.words import script_words


def dock_of(conversation: Conversation, last: TurnView | None) -> str:
    """The one thing to do: start, message, waiting, held, failed, strip or ended."""
    if conversation.state != Conversation.State.OPEN:
        return "ended"
    if last is None or last.state in {"chosen", "skipped"}:
        needs_intent = conversation.objective == "harmless" and not conversation.intent
        return "start" if needs_intent and last is None else "message"
    if last.state == "generating":
        return "held" if last.is_held_back else "waiting"
    return "failed" if last.state == "failed" else "strip"


def reason_words() -> list[tuple[str, str]]:
    """Tag → words of the reason list, in the order shown."""
    words = {
        "more_helpful": _("More helpful"),
        "more_honest": _("More honest"),
        "made_up_facts": _("The other made things up"),
        "off_topic": _("The other missed the point"),
        "too_long": _("The other is too long"),
        "too_short": _("The other is too short"),
        "rude": _("The other is rude"),
        "unsafe": _("The other is unsafe"),
        "wrong_language": _("The other is in the wrong language"),
    }
    return [(tag, words[tag]) for tag in REASON_TAGS]


def flag_words() -> list[tuple[str, str]]:
    """Kind → words of the flag dialog."""
    words = {
        Flag.Kind.PERSONAL_DATA: _("Personal data"),
        Flag.Kind.NAMES_MODEL: _("Says which model it is"),
        Flag.Kind.TECHNICAL: _("Technical problem"),
        Flag.Kind.UPSETTING: _("Upsetting"),
        Flag.Kind.OTHER: _("Something else"),
    }
    return [(kind.value, text) for kind, text in words.items()]


def skip_words() -> list[tuple[str, str]]:
    """Reason → words, offered after a skip."""
    return [
        ("know_too_little", _("I know too little")),
        ("upsetting", _("Upsetting")),
        ("technical", _("Technical problem")),
        ("other", _("Other")),
    ]


@cache
def strip_fields(question: str, *, is_opinion: bool, language: str) -> SafeString:  # noqa: ARG001 -- keys the cache
    """The strip's eight points and the reasons: the same for everybody who reads `language`."""
    end_a, end_b = ENDS[question]
    context = {
        "question": QUESTIONS[question],
        "end_a": end_a,
        "end_b": end_b,
        "points": points(question),
        "reason_tags": reason_words(),
        "is_harmful_one_picked": question == "more_harmful" and not is_opinion,
    }
    return render_to_string("comparisons/_strip_fields.html", context)


@cache
def opinion_tools(*, language: str) -> SafeString:  # noqa: ARG001 -- keys the cache
    """What stands beside the strip of a second opinion, rendered once for each language."""
    context = {"is_opinion": True, "pass_url": True}
    return render_to_string("comparisons/_strip_tools.html", context)


def strip_words(campaign: Campaign, *, is_opinion: bool = False) -> dict[str, Any]:
    """What the strip asks, in the interface's language, about texts in the campaign's."""
    language = get_language() or settings.LANGUAGE_CODE
    fields = strip_fields(campaign.question, is_opinion=is_opinion, language=language)
    return {"strip_fields": fields, "content_language": campaign.language}


def key_rows(keys: dict[str, str], *, only: Collection[str] = ()) -> list[tuple[str, str, str]]:
    """Action, what it does in words, and this person's key for it; `only`: what the page can do."""
    rows = [(name, words, keys[name]) for name, words in key_words().items()]
    return [row for row in rows if not only or row[0] in only]


def stage_context(request: HttpRequest, conversation: Conversation) -> dict[str, Any]:
    """Everything the turns and the dock need."""
    campaign = conversation.campaign
    assert campaign is not None
    turns = turn_views(conversation)
    last = turns[-1] if turns else None
    picked = {
        turn.public_id: picked_words(
            question=campaign.question, side=turn.picked_side, strength=turn.picked_strength
        )
        for turn in turns
        if turn.picked_side and turn.picked_strength
    }
    done = sum(turn.state == "chosen" for turn in turns)
    dock = dock_of(conversation, last)
    return {
        "conversation": conversation,
        "campaign": campaign,
        "turns": [(turn, picked.get(turn.public_id, "")) for turn in turns],
        "last": last,
        "dock": dock,
        "undone": undone_words(undone_comparison(last.public_id))
        if last and dock == "strip"
        else None,
        "turn_number": (last.number if last and last.is_open else len(turns) + 1),
        "turn_count": len(turns),
        "total": conversations_of(conversation),
        "chosen_count": done,
        "message_key": uuid.uuid4(),
        "choice_key": uuid.uuid4(),
        "choice_url": reverse("choice", args=[last.public_id]) if last else "",
        "skip_reasons": skip_words(),
        "topics": _topics(conversation, last),
        "break_after": _break_due(conversation, last),
        "request": request,
        **strip_words(campaign),
    }


def undone_words(undone: Comparison | None) -> dict[str, Any] | None:
    """What was said with a choice that was taken back, to be corrected; None where there was none."""
    if undone is None or not undone.strength:
        return None
    return {
        "point": point_of(side=undone.side, strength=undone.strength),
        "is_both_bad": undone.is_both_bad,
        "reason_tags": undone.reason_tags,
        "reason_text": undone.reason_text,
    }


def conversations_of(own: Conversation) -> int:
    """How many there are in the conversation's assignment."""
    return own.assignment.conversations_required if own.assignment else 1


def page_context(own: Conversation) -> dict[str, Any]:
    """What stands around the stage: panel, dialogs, keys."""
    assert own.campaign is not None
    assert own.crowdworker is not None
    instructions = current_instructions(own.campaign)
    total = conversations_of(own)
    account = own.crowdworker.account
    keys = preferences.keys_of(account)
    return {
        "nav": [],
        "instructions": instructions,
        "has_consented": onboarding.has_consented(own.crowdworker, instructions),
        "total": total,
        "steps": [
            {
                "number": number,
                "is_done": number < (own.position or 1),
                "is_now": number == own.position,
            }
            for number in range(1, total + 1)
        ],
        "next_number": (own.position or 0) + 1,
        "flag_kinds": flag_words(),
        "keys": keys,
        "key_rows": key_rows(keys),
        "words": script_words(),
        "has_single_keys": account.has_single_keys,
        "is_red_team": own.campaign.is_red_team,
    }


def opinion_undo(given: Comparison) -> dict[str, str]:
    """The way back from the second opinion that was given before."""
    assert given.strength is not None
    words = picked_words(question=given.question, side=given.side, strength=given.strength)
    return {"words": words, "url": reverse("undo_opinion", args=[given.showing.public_id])}


def opinion_context(showing: Showing, *, choice_key: uuid.UUID) -> dict[str, Any]:
    """The strip of a second opinion."""
    campaign = showing.turn.conversation.campaign
    assert campaign is not None
    return {
        "showing": showing,
        "campaign": campaign,
        "choice_key": choice_key,
        "undone": undone_words(undone_opinion(showing)),
        "choice_url": reverse("opinion_choice", args=[showing.public_id]),
        "pass_url": reverse("pass_opinion", args=[showing.public_id]),
        "is_opinion": True,
        "strip_tools": opinion_tools(language=get_language() or settings.LANGUAGE_CODE),
        **strip_words(campaign, is_opinion=True),
    }


def _topics(conversation: Conversation, last: TurnView | None) -> list[tuple[str, str]]:
    """What a red-team conversation may touch, before it begins."""
    crowdworker = conversation.crowdworker
    if last is not None or crowdworker is None or conversation.objective != "harmless":
        return []
    return topic_words(without=crowdworker.topic_opt_outs)


def _break_due(conversation: Conversation, last: TurnView | None) -> int:
    is_red_team = conversation.objective == "harmless" and conversation.crowdworker is not None
    if not is_red_team or last is None or last.state != "chosen":
        return 0
    return wellbeing.should_suggest_break(conversation.crowdworker)


def answer(
    request: HttpRequest, conversation: Conversation, *, status: int = 200, **facts: object
) -> HttpResponse:
    """After a change: the new stage as JSON for the script, a redirect for a plain form."""
    if not wants_json(request):
        return redirect("conversation", conversation.public_id)
    fresh = Conversation.objects.select_related("campaign", "assignment", "crowdworker").get(
        pk=conversation.pk
    )
    context = stage_context(request, fresh)
    html = render_to_string("comparisons/_stage.html", context, request=request)
    return JsonResponse({**facts, "stage": html, "dock": context["dock"]}, status=status)


def refusal(
    request: HttpRequest,
    conversation: Conversation,
    *,
    status: int,
    code: str,
    message: str,
    draft: str = "",
    way_out: dict[str, str] | None = None,
) -> HttpResponse:
    """A change that could not be: why, and how things stand now; what was typed is kept.

    `way_out`: the url and words of a link to what has to be done first.
    """
    if wants_json(request):
        facts = {"error": code, "message": message, "way_out": way_out}
        return answer(request, conversation, status=status, **facts)
    context = stage_context(request, conversation)
    context |= page_context(conversation)
    context |= {"refusal": message, "draft": draft, "way_out": way_out}
    return render(request, "comparisons/conversation.html", context, status=status)
