"""My work: history, states, time, pay, one's own data, and how to withdraw it.

Knows requests and templates; figures come from the queries.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from comparisons.models import Assignment, Crowdworker
from comparisons.queries import own_data as own_data_query
from comparisons.queries import own_work, pay, work
from comparisons.services import wellbeing, withdrawal
from comparisons.web.access import crowdworker_required, own_data_of
from comparisons.web.topics import topic_words

FILTERS = {
    "accepted": (Assignment.State.ACCEPTED,),
    "pending": (Assignment.State.SUBMITTED,),
    "paid": (Assignment.State.PAID,),
}


@require_safe
@own_data_of
def my_work(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """What was done, its state with the reason, time and pay."""
    wanted = request.GET.get("state", "")
    rows = work.work_rows(crowdworker, states=FILTERS.get(wanted, ()))
    week = work.this_week(work.work_rows(crowdworker))
    beside = own_work.side_work(crowdworker)
    context = {
        "rows": rows,
        "pieces": pay.piece_rows(crowdworker, states=FILTERS.get(wanted, ())),
        "wanted": wanted,
        "filters": [
            ("", _("All")),
            ("accepted", _("Accepted")),
            ("pending", _("Pending")),
            ("paid", _("Paid")),
        ],
        "week_milliseconds": beside.milliseconds
        + sum(row.assignment.active_milliseconds for row in week),
        "week_choices": beside.opinions + sum(row.choices for row in week),
        "week_pay": _sums(
            [
                *((row.earned.currency, row.earned.amount) for row in week),
                *pay.of_this_week(crowdworker),
            ]
        ),
        "beside": beside,
        "hints": own_work.hints(crowdworker),
        "now": timezone.now(),
        "crowdworker": crowdworker,
    }
    return render(request, "comparisons/my_work.html", context)


def _sums(amounts: Iterable[tuple[str, Decimal]]) -> list[tuple[Decimal, str]]:
    """What it comes to in each currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in amounts:
        sums[currency] += amount
    return [(amount, currency) for currency, amount in sums.items() if currency]


@require_safe
@own_data_of
def own_data(_request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """Everything kept about the person, as one JSON file."""
    response = JsonResponse(
        own_data_query.own_data(crowdworker), json_dumps_params={"indent": 1, "ensure_ascii": False}
    )
    response["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@own_data_of
def withdraw(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """Say what withdrawing means; do it once it is confirmed."""
    if request.method == "POST" and request.POST.get("is_sure"):
        withdrawal.withdraw(crowdworker)
        messages.success(request, _("Your texts were removed. Thank you for your work."))
        return redirect("my_work")
    return render(request, "comparisons/withdraw.html", {"crowdworker": crowdworker})


@require_http_methods(["GET", "HEAD", "POST"])
@crowdworker_required
def wellbeing_page(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """Covers, topics, comfort, today's share of red-team text, support."""
    if request.method == "POST":
        sent = request.POST
        if sent.get("cover") in wellbeing.COVERS:
            wellbeing.set_cover(crowdworker, sent["cover"])
        if sent.get("comfort") in wellbeing.COMFORTS:
            wellbeing.set_comfort(crowdworker, sent["comfort"])
        if "has_topics" in sent:
            wellbeing.set_topics(crowdworker, sent.getlist("topics"))
        messages.success(request, _("Kept."))
        return redirect("wellbeing")
    context = {
        "crowdworker": crowdworker,
        "shown_today": wellbeing.shown_today(crowdworker),
        "rests_until": wellbeing.cooling_until(crowdworker),
        "topics": topic_words(),
    }
    return render(request, "comparisons/wellbeing.html", context)
