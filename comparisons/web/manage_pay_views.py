"""What a campaign's people are owed by this site: by the piece, and by invitation; accept it, mark it paid.

Each view reads through queries or calls one service.
"""

import csv

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from comparisons.formats.csv import safe_cell
from comparisons.models import Campaign
from comparisons.queries.pay import pay_rows, totals
from comparisons.queries.settling import steps
from comparisons.services import paying
from comparisons.web.access import account_of, administrator_required
from comparisons.web.confirming import confirm_to_change, confirm_to_download
from comparisons.web.manage_page import Unseen, manage_page, seen_until

COLUMNS = (
    "person", "platform", "last_submission", "work", "done", "state", "minutes", "amount",
    "currency", "handed_in_at",
)  # fmt: skip
SHOWN = 200


@require_safe
@administrator_required
def pay(request: HttpRequest, slug: str) -> HttpResponse:
    """Who is owed what, what waits for a look first."""
    campaign = get_object_or_404(Campaign, slug=slug)
    made_at = timezone.now()
    rows = pay_rows(campaign)
    context = {
        "made_at": made_at.isoformat(),
        "campaign": campaign, "rows": rows[:SHOWN], "count": len(rows), "totals": totals(rows),
        "steps": steps(rows),
    }  # fmt: skip
    return manage_page(request, "pay.html", place="manage_campaigns", context=context)


@require_POST
@administrator_required
@confirm_to_change
def pay_settle(request: HttpRequest, slug: str) -> HttpResponse:
    """Accept what was handed in, or mark what was accepted as paid, as far as the page showed it."""
    campaign = get_object_or_404(Campaign, slug=slug)
    to = request.POST.get("to", "")
    try:
        until = seen_until(request)
        count = paying.settle(campaign, to=to, actor=account_of(request), until=until)
    except (paying.PayRefused, Unseen) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{count} {to}.")
    return redirect("manage_pay", slug=slug)


@require_safe
@administrator_required
@confirm_to_download
def pay_csv(_request: HttpRequest, slug: str) -> HttpResponse:
    """Every line, by pseudonym; a platform pays its people's pieces by their last submission."""
    campaign = get_object_or_404(Campaign, slug=slug)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="pay-{campaign.slug}.csv"'
    table = csv.writer(response)
    table.writerow(COLUMNS)
    for row in pay_rows(campaign):
        cells = (
            row.crowdworker.pseudonym, row.crowdworker.platform, row.last_submission, row.work,
            row.done, row.state, round(row.active_milliseconds / 60_000, 1), row.amount,
            row.currency, row.handed_in_at.isoformat() if row.handed_in_at else "",
        )  # fmt: skip
        table.writerow([safe_cell(cell) for cell in cells])
    return response
