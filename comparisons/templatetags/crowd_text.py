"""Template filters for text and time on the crowdworkers' pages.

Knows formatting only; the sanitising is in `comparisons.web.markdown`.
"""

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from comparisons.web.markdown import rendered

register = template.Library()


@register.filter
def markdown(text: str, top_heading: int = 4) -> SafeString:
    """Safe HTML of a human or model text; its first headings get the level that is given."""
    return rendered(text or "", top_heading=top_heading)


@register.filter
def spent(milliseconds: int | None) -> str:
    """Milliseconds as hours and minutes."""
    minutes = round((milliseconds or 0) / 60_000)
    if minutes < 60:
        return _("{minutes} min").format(minutes=minutes)
    hours, rest = divmod(minutes, 60)
    return _("{hours} h {minutes:02d}").format(hours=hours, minutes=rest)
