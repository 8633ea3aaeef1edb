"""The lab's pages of runs: the list, a new one, one that is live.

Knows forms and templates; what a run is and when it may begin is the services' business.
"""

import json
import re
import uuid
from typing import Any

from csp.constants import NONE, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from comparisons.web.access import account_of, researcher_required
from modelserving.registry import CheckpointNotRegistered
from training import queries, run_files
from training.elo_tables import elo_tables
from training.models import TrainingRun
from training.preflight import checks
from training.report import plots
from training.report.accuracies import accuracies
from training.services import RunRefused, request_stop, start_run
from training.web.forms import NewRunForm
from training.web.shell import lab

OFFERED = ("preference_model", "ppo", "best_of_k", "evaluation", "language_model")
MOST_LINES = 100
OWN_SIZE = re.compile(r' (?:width|height)="[\d.]+pt"')  # an SVG without it fills the window
POLL_NO_MORE = 286  # htmx's own status: this answer is shown, and no further one is asked for


@require_GET
@researcher_required
def lab_home(_request: HttpRequest) -> HttpResponse:
    """The lab opens on its runs."""
    return redirect("lab_runs")


@require_GET
@researcher_required
def runs(request: HttpRequest) -> HttpResponse:
    """Runs, newest first, with state, reason and one figure each."""
    kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
    found = queries.runs(
        kind=kind if kind in TrainingRun.Kind.values else "",
        state=state if state in TrainingRun.State.values else "",
    )
    context = lab(
        request, lines=[queries.line(run) for run in found[:MOST_LINES]], kinds=TrainingRun.Kind.choices,
        states=TrainingRun.State.choices, kind=kind, state=state, offered=_offered(),
        waiting=queries.waiting_without_worker(),
    )  # fmt: skip
    return render(request, "training/runs.html", context)


@require_GET
@researcher_required
def compare_runs(request: HttpRequest) -> HttpResponse:
    """Up to six runs beside each other: results, what their settings differ in, curves."""
    found = queries.picked(request.GET.getlist("run"))
    context = lab(
        request,
        runs=found,
        table=queries.side_by_side(found),
        metrics=queries.common_metrics(found),
    )
    return render(request, "training/compare.html", context)


@require_http_methods(["GET", "POST"])
@researcher_required
def new_run(request: HttpRequest) -> HttpResponse:
    """Preset first; what cannot run is refused here, with the typed values kept."""
    kind = request.POST.get("kind") or request.GET.get("kind", "preference_model")
    if kind not in OFFERED:
        raise Http404
    if request.method == "GET":
        initial, typed = queries.settings_of(request.GET.get("from", ""), kind=kind)
        initial |= queries.named_inputs(request.GET) | {"request_key": uuid.uuid4()}
        form = NewRunForm(kind=kind, initial=initial, typed=typed)
        return render(request, "training/new_run.html", _new_run(request, form, kind=kind))
    form = NewRunForm(request.POST, kind=kind)
    if form.is_valid():
        try:
            run = start_run(form.chosen(), requested_by=account_of(request))
        except (RunRefused, CheckpointNotRegistered) as refused:
            form.refuse(str(refused))
        else:
            return redirect("run", run.public_id)
    return render(request, "training/new_run.html", _new_run(request, form, kind=kind), status=400)


@require_GET
@researcher_required
def new_run_checks(request: HttpRequest) -> HttpResponse:
    """What stands ready for the run as the form is filled in so far."""
    kind = request.GET.get("kind", "")
    if kind not in OFFERED:
        raise Http404
    found = checks(NewRunForm(request.GET, kind=kind).chosen())
    return render(request, "training/_checks.html", {"checks": found})


@require_GET
@researcher_required
def run(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """One run: state, curves, samples, log, config, inputs; its state alone where the page asks again."""
    found = get_object_or_404(queries.runs(), public_id=public_id)
    state = {
        "run": found,
        "line": queries.line(found),
        "results": queries.results(found.results),
        "waiting": queries.waiting_without_worker(),
        "is_over": found.state not in {TrainingRun.State.QUEUED, TrainingRun.State.RUNNING},
    }
    if request.headers.get("HX-Request"):
        status = POLL_NO_MORE if state["is_over"] else 200
        return render(request, "training/_run_state.html", state, status=status)
    directory, evaluation = run_files.directory_of(found), queries.evaluation(found)
    context = lab(
        request, **state, evaluation=evaluation, samples=queries.samples(found), elo=elo_tables(evaluation),
        accuracies=accuracies(evaluation),
        medians=queries.medians(found, page=request.GET.get("page", "")),
        log=run_files.tail(directory / "log.txt"), inputs=run_files.read_object(directory / "inputs.json"),
        figures=plots.offered(found.kind, evaluation=evaluation) if state["is_over"] else [],
    )  # fmt: skip
    return render(request, "training/run.html", context)


@require_GET
@researcher_required
def run_rows(request: HttpRequest, public_id: uuid.UUID) -> JsonResponse:
    """Metrics from a byte offset on: the rows that the files hold, nothing smoothed."""
    found = get_object_or_404(TrainingRun, public_id=public_id)
    offset = run_files.offset_of(request.GET.get("offset", "0"))
    path = run_files.directory_of(found) / "metrics.jsonl"
    rows, after = run_files.rows_after(path, offset=offset)
    is_over = found.state not in {TrainingRun.State.QUEUED, TrainingRun.State.RUNNING}
    is_waiting = found.state == TrainingRun.State.QUEUED
    return JsonResponse(
        {"rows": rows, "offset": after, "is_over": is_over, "is_waiting": is_waiting}
    )


@require_GET
@researcher_required
@csp_replace(
    {"default-src": [NONE], "style-src": [UNSAFE_INLINE]}
)  # opened by itself: its own look
def run_figure(request: HttpRequest, public_id: uuid.UUID, name: str) -> HttpResponse:
    """One figure of the run as SVG, drawn from its files; as large as the window where it is to be read."""
    found = get_object_or_404(TrainingRun, public_id=public_id)
    svg = queries.figure_of(found, name)
    if svg is None:
        raise Http404
    if "large" in request.GET:
        svg = OWN_SIZE.sub("", svg, count=2)
    return HttpResponse(svg, content_type="image/svg+xml")


@require_GET
@researcher_required
def run_metrics_file(_request: HttpRequest, public_id: uuid.UUID) -> FileResponse:
    """metrics.jsonl as it stands."""
    found = get_object_or_404(TrainingRun, public_id=public_id)
    path = run_files.directory_of(found) / "metrics.jsonl"
    if not path.is_file():
        raise Http404
    return FileResponse(path.open("rb"), as_attachment=True, filename=f"metrics-{found.pk}.jsonl")


@require_GET
@researcher_required
def run_medians_file(_request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """The median response to every prompt as JSON lines, with its score and the best's."""
    found = get_object_or_404(TrainingRun, public_id=public_id)
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in queries.median_rows(found)]
    if not lines:
        raise Http404
    response = HttpResponse("".join(lines), content_type="application/jsonl")
    response["Content-Disposition"] = f'attachment; filename="medians-{found.pk}.jsonl"'
    return response


@require_POST
@researcher_required
def stop_run(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Stop after this step; the last checkpoint stays usable."""
    found = get_object_or_404(TrainingRun, public_id=public_id)
    request_stop(found, actor=account_of(request))
    return redirect("run", public_id)


def _new_run(request: HttpRequest, form: NewRunForm, *, kind: str) -> dict[str, Any]:
    return lab(
        request,
        form=form,
        kind=kind,
        kind_words=TrainingRun.Kind(kind).label,
        offered=_offered(),
        checks=checks(form.chosen()),
    )


def _offered() -> list[tuple[str, str]]:
    return [(kind, str(TrainingRun.Kind(kind).label)) for kind in OFFERED]
