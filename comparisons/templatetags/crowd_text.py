"""Template filters for text and time on the crowdworkers' pages.

Knows formatting only; the sanitising is in `comparisons.web.markdown`.
"""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.html import format_html
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


@register.filter
def clock(moment: datetime | None) -> str:
    """The time of day: by the reader's own clock where scripts run, else with its zone."""
    return _local(moment, kind="clock", pattern="H:i e")


@register.filter
def day(moment: datetime | None) -> str:
    """Day and month, by the reader's own calendar where scripts run."""
    return _local(moment, kind="day", pattern="j M")


@register.filter
def day_and_clock(moment: datetime | None) -> str:
    """Both."""
    return _local(moment, kind="day-clock", pattern="j M, H:i e")


def _local(moment: datetime | None, *, kind: str, pattern: str) -> str:
    if moment is None:
        return ""
    words = date_format(timezone.localtime(moment), pattern)
    shown = '<time datetime="{}" data-local="{}">{}</time>'
    return format_html(shown, moment.isoformat(), kind, words)
