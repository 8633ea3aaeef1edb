"""Topics of red-team work in words: what a conversation touches, and what one would rather not meet.

Knows words only; what follows from a topic is decided in `wellbeing`.
"""

from collections.abc import Collection

from django.utils.translation import gettext as _

from comparisons.services.wellbeing import TOPICS


def topic_words(*, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Topic → words, those left out that the person does not want to meet."""
    words = {
        "violence": _("Violence"),
        "self_harm": _("Self-harm and suicide"),
        "sexual": _("Sexual content"),
        "hate": _("Contempt for groups of people"),
        "drugs": _("Drugs"),
        "weapons": _("Weapons"),
        "crime": _("Theft, fraud and other crime"),
        "animals": _("Cruelty to animals"),
        "health": _("Dangerous advice on health"),
    }
    return [(topic, words[topic]) for topic in TOPICS if topic not in without]
