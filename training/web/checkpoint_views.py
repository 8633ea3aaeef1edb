"""The lab's pages of checkpoints and of the model servers that hold them.

Knows forms and templates; registering, deploying and loading are services' business.
"""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from comparisons.services import audit
from comparisons.web.access import account_of, administrator_required, researcher_required
from modelserving import registry
from modelserving.client import statuses
from modelserving.client.calls import Needed
from modelserving.client.errors import EndpointError
from modelserving.client.statuses import ServerStatus
from modelserving.deployments import DeploymentRefused, create_deployment
from modelserving.models import Checkpoint, Deployment, Slot
from training import queries
from training.models import TrainingRun
from training.report import plots
from training.report.accuracies import accuracies
from training.web import server_words
from training.web.forms import DeploymentForm, TrialForm
from training.web.shell import lab

RUNS_SHOWN = 12  # of those that began from a checkpoint, newest first


@require_GET
@researcher_required
def checkpoints(request: HttpRequest) -> HttpResponse:
    """Every checkpoint, newest first."""
    found = Checkpoint.objects.prefetch_related("deployments__places__slot", "parents")
    lines = [(each, _headline(each)) for each in found[:200]]
    return render(request, "training/checkpoints.html", lab(request, lines=lines))


@require_GET
@researcher_required
def checkpoint(request: HttpRequest, digest: str) -> HttpResponse:
    """One checkpoint, read like a results section."""
    return render(request, "training/checkpoint.html", _page(request, _find(digest)))


@require_POST
@researcher_required
def make_deployment(request: HttpRequest, digest: str) -> HttpResponse:
    """A new deployment of the checkpoint; it takes no traffic until it is put on trial."""
    found = _find(digest)
    form = DeploymentForm(request.POST)
    refusal = ""
    if form.is_valid():
        try:
            made = create_deployment(
                checkpoint=found, created_by=account_of(request), **form.cleaned_data
            )
        except DeploymentRefused as refused:
            refusal = str(refused)
        else:
            audit.record(
                actor=account_of(request), action="deployment.create", object_type="deployment",
                object_id=made.public_id, detail={"name": made.name, "checkpoint": found.hash},
            )  # fmt: skip
            messages.success(
                request, _("%(name)s is made. Put it on trial in a slot.") % {"name": made.name}
            )
            return redirect("checkpoint", found.hash)
    context = _page(request, found) | {
        "deployment_form": form, "refusal": refusal,
        "own_address": reverse("checkpoint", args=[found.hash]),
    }  # fmt: skip
    return render(request, "training/checkpoint.html", context, status=400)


@require_GET
@researcher_required
def servers(request: HttpRequest) -> HttpResponse:
    """What is loaded where, and how the servers do."""
    names = dict(Checkpoint.objects.values_list("hash", "name"))
    found = [_described(status, names=names) for status in statuses.server_statuses()]
    context = lab(request, servers=found, known=Checkpoint.objects.all()[:100])
    return render(request, "training/servers.html", context)


@require_POST
@administrator_required
def load(request: HttpRequest) -> HttpResponse:
    """Load a checkpoint on every model server while they go on serving."""
    found = _find(request.POST.get("checkpoint", ""))
    try:
        statuses.load_everywhere(Needed(name=found.hash, path=registry.directory_of(found)))
    except EndpointError as failed:
        said = f"{str(failed).rstrip('.')}. {server_words.goes_on(found)}".strip()
        messages.error(request, _("Not loaded: %(why)s") % {"why": said})
    else:
        messages.success(request, _("%(name)s is loaded.") % {"name": found.name})
    return redirect("lab_servers")


@require_POST
@administrator_required
def unload(request: HttpRequest) -> HttpResponse:
    """Have one server drop a checkpoint; it comes back by itself when somebody needs it."""
    try:
        statuses.unload(request.POST.get("server", ""), name=request.POST.get("checkpoint", ""))
    except EndpointError as failed:
        messages.error(request, _("Not unloaded: %(why)s") % {"why": failed})
    else:
        text = _(
            "No new turns go to it; what runs is finished first. It is loaded again when a deployment needs it."
        )
        messages.success(request, text)
    return redirect("lab_servers")


def _described(status: ServerStatus, *, names: Mapping[str, str]) -> dict[str, Any]:
    """One server for its card."""
    counts, used = status.detail.get("counts") or {}, server_words.uses(status.checkpoints)
    kinds = dict(Checkpoint.Kind.choices)
    return {
        "status": status,
        "is_here": status.url.startswith("unix:"),
        "done": server_words.done(counts),
        "wrong": server_words.wrong(counts),
        "checkpoints": [
            each
            | {
                "title": names.get(str(each.get("hash")), each.get("name")),
                "says": kinds.get(str(each.get("kind")), each.get("kind")),
                "uses": used.get(str(each.get("hash")), []),
                "is_base": any(
                    other.get("base") == each.get("hash") for other in status.checkpoints
                ),
            }
            for each in status.checkpoints
        ],
    }


def _find(digest: str) -> Checkpoint:
    return get_object_or_404(Checkpoint, hash=digest)


def _headline(found: Checkpoint) -> str:
    for key, words in queries.HEADLINES.values():
        if key in found.results:
            return f"{words} {queries.figure(found.results[key], key=key)}"
    return ""


def _page(request: HttpRequest, found: Checkpoint) -> dict[str, Any]:
    run = TrainingRun.objects.filter(public_id=found.run).first() if found.run else None
    speaks = found.kind != Checkpoint.Kind.PREFERENCE_MODEL
    evaluation = queries.evaluation(run) if run else {}
    return lab(
        request, checkpoint=found, run=run, speaks=speaks, parents=found.parents.all(),
        results=queries.results(found.results), accuracies=accuracies(evaluation),
        deployments=[_on_offer(each) for each in found.deployments.prefetch_related("places__slot")],
        ranks=found.ranked.all(), adapters=found.adapters.all()[:50], evaluation=evaluation,
        runs_from=found.runs_from.order_by("-pk")[:RUNS_SHOWN],
        figures=plots.offered(run.kind, evaluation=evaluation) if run else [],
        samples=queries.samples(run) if run else [],
        deployment_form=DeploymentForm(initial={"name": f"{found.name}"[:100]}),
        has_slots=Slot.objects.exists(),
    )  # fmt: skip


def _on_offer(deployment: Deployment) -> tuple[Deployment, TrialForm | None]:
    """A deployment with the form that puts it on trial; None where it takes part in every slot."""
    form = TrialForm(deployment=deployment, auto_id=f"trial-{deployment.pk}-%s")
    slots: Any = form.fields["slot"]
    return deployment, form if slots.queryset.exists() else None
