"""Template filters of the administrators' pages: decisions and choices in words.

Knows formatting only; what was decided or chosen is read elsewhere.
"""

from django import template

from comparisons.models import Comparison
from comparisons.models.campaign import Question
from comparisons.web.strip import WORDS

register = template.Library()

DECISIONS = {
    "crowdworker.no_problem": "No problem",
    "crowdworker.asked": "Asked",
    "crowdworker.set_aside": "Choices set aside",
    "crowdworker.take_back": "Choices count again",
    "crowdworker.suspended": "Suspended",
    "crowdworker.active": "May work again",
    "crowdworker.withdraw": "Withdrew",
}


@register.filter
def decision(action: str) -> str:
    """What was decided about a person, as it stands in the record, in words."""
    return DECISIONS.get(action, action)


@register.filter
def choice_words(choice: Comparison) -> str:
    """The strip's words for a choice; of an imported one, what is known."""
    if choice.side and choice.strength:
        place = 4 - choice.strength if choice.side == "A" else 3 + choice.strength
        return str(WORDS[Question(choice.question)][place])
    return f"picked {choice.side or '?'}, strength {choice.strength or 'unknown'}"
