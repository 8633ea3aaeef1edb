"""Releases: list, cut with live counts, look at, export, download.

Each view reads through queries or calls one service.
"""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from comparisons.downloads import ranged_download
from comparisons.models import DatasetRelease, ReleaseExport
from comparisons.queries.pages import page_of
from comparisons.queries.releases import (
    ReleaseFilters,
    release_counts,
    releases,
    suggested_name,
    suggested_test_percent,
)
from comparisons.services import exporting, releasing
from comparisons.web.access import account_of, researcher_required
from comparisons.web.confirming import confirm_to_change, confirm_to_download
from comparisons.web.manage_forms import ReleaseForm
from comparisons.web.manage_page import manage_page

PAGE = 50


@require_safe
@researcher_required
def release_list(request: HttpRequest) -> HttpResponse:
    """All releases, newest first."""
    page = page_of(releases(), asked=request.GET, size=PAGE)
    context = {"page": page, "counts": release_counts(ReleaseFilters())}
    return manage_page(request, "releases.html", place="manage_releases", context=context)


@require_http_methods(["GET", "HEAD", "POST"])
@researcher_required
@confirm_to_change
def release_new(request: HttpRequest) -> HttpResponse:
    """Choose what goes in, see the counts, freeze."""
    initial = {"name": suggested_name(), "test_percent": suggested_test_percent()}
    form = ReleaseForm(request.POST or None, initial=initial)
    filters = ReleaseFilters()
    if request.method == "POST":
        filters = form.filters()
        if form.is_valid():
            try:
                release = releasing.request_release(
                    form.cleaned_data["name"], test_percent=form.cleaned_data["test_percent"],
                    filters=filters, created_by=account_of(request),
                )  # fmt: skip
            except releasing.ReleaseRefused as refusal:
                form.add_error("name", str(refusal))
            else:
                return redirect("manage_release", name=release.name)
    context = {"form": form, "counts": release_counts(filters)}
    return manage_page(request, "release_new.html", place="manage_releases", context=context)


@require_safe
@researcher_required
def release_live_counts(request: HttpRequest) -> HttpResponse:
    """What a release cut now would hold, and why not the rest."""
    counts = release_counts(ReleaseForm(request.GET).filters())
    return render(request, "comparisons/manage/_counts.html", {"counts": counts})


@require_safe
@researcher_required
def release_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One release: its counts, its hash, its exports."""
    context = _release_context(name)
    if request.headers.get("HX-Request"):
        return render(request, "comparisons/manage/_release_state.html", context)
    return manage_page(request, "release.html", place="manage_releases", context=context)


@require_POST
@researcher_required
@confirm_to_change
def export_new(request: HttpRequest, name: str) -> HttpResponse:
    """Have an export made."""
    release = get_object_or_404(DatasetRelease, name=name)
    try:
        exporting.request_export(
            release, request.POST.get("format", ""), requested_by=account_of(request)
        )
    except exporting.ExportRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("manage_release", name=name)


@require_safe
@researcher_required
@confirm_to_download
def export_download(request: HttpRequest, name: str, export_format: str) -> HttpResponseBase:
    """The export's file, in pieces when asked so."""
    export = get_object_or_404(
        ReleaseExport.objects.select_related("release"),
        release__name=name, format=export_format, state=ReleaseExport.State.DONE,
    )  # fmt: skip
    try:
        path = exporting.downloadable_file(export, actor=account_of(request))
    except exporting.ExportRefused as refusal:
        raise Http404(str(refusal)) from None
    return ranged_download(request, path, sha256=export.sha256, name=export.file_name)


def _release_context(name: str) -> dict[str, object]:
    release = get_object_or_404(DatasetRelease.objects.select_related("created_by"), name=name)
    made = {export.format: export for export in release.exports.all()}
    is_frozen = release.state == DatasetRelease.State.FROZEN
    working = {ReleaseExport.State.QUEUED, ReleaseExport.State.RUNNING}
    counts = release.counts
    words = counts.get("left_out_words", {})
    return {
        "release": release,
        "left_out": [
            (words.get(reason, reason), count)
            for reason, count in counts.get("left_out", {}).items()
        ],
        "exports": [(choice, label, made.get(choice)) for choice, label in ReleaseExport.Format.choices],
        "can_export": is_frozen and not release.stale_at,
        "is_moving": release.state == DatasetRelease.State.CUTTING
        or any(export.state in working for export in made.values()),
    }  # fmt: skip
