"""The administrators' overview, imports and the page of the API.

Each view reads through queries or calls one service.
"""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from comparisons.models import ApiToken
from comparisons.queries import dashboard as overview
from comparisons.queries.costs import costs_today
from comparisons.queries.happening import happening_now
from comparisons.queries.imports import import_sources, repeating_imports
from comparisons.services.accounts import make_api_token, revoke_api_token
from comparisons.web.access import account_of, administrator_required, researcher_required
from comparisons.web.confirming import confirm_to_change
from comparisons.web.manage_charts import day_chart, spark
from comparisons.web.manage_forms import TokenForm
from comparisons.web.manage_page import is_sent_again, manage_page
from comparisons.web.operations import operations


@require_safe
@administrator_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """What is broken, who needs a look, today, now, and the last days."""
    days = overview.comparisons_by_day()
    costs = costs_today()
    context = {
        "concerns": overview.concerns(),
        "today": [
            (row, costs.get(row.campaign.pk, ()), spark(row.days))
            for row in overview.campaigns_today()
        ],
        "now": happening_now(),
        "days": days,
        "chart": day_chart(days),
        "totals": overview.totals(),
        "counted_at": now(),
    }
    return manage_page(request, "dashboard.html", place="manage_dashboard", context=context)


@require_safe
@researcher_required
def imports(request: HttpRequest) -> HttpResponse:
    """What was imported, and how to import more."""
    context = {"sources": import_sources(), "repeating": repeating_imports()}
    return manage_page(request, "imports.html", place="manage_imports", context=context)


@require_http_methods(["GET", "HEAD", "POST"])
@researcher_required
@confirm_to_change
def api(request: HttpRequest) -> HttpResponse:
    """What the API can do, and this account's tokens; a new one is shown once."""
    account = account_of(request)
    form = TokenForm(request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        if is_sent_again(request, what="token"):
            messages.info(request, "The token was made already; it was shown once.")
            return redirect("manage_api")
        days = form.cleaned_data["days"]
        secret = make_api_token(
            account, name=form.cleaned_data["name"], scope=form.cleaned_data["scope"],
            expires_at=now() + timedelta(days=days) if days else None,
        )  # fmt: skip
        form = TokenForm()
    context = {
        "form": form,
        "secret": secret,
        "tokens": ApiToken.objects.filter(account=account).order_by("-pk"),
        "operations": operations(),
    }
    return manage_page(request, "api.html", place="manage_api", context=context)


@require_POST
@researcher_required
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Make one of the account's own tokens useless."""
    if revoke_api_token(account_of(request), token_id=token_id):
        messages.success(request, "The token no longer works.")
    else:
        messages.error(request, "That token is not yours, or was revoked before.")
    return redirect("manage_api")
