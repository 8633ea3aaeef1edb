"""Make deployments: a checkpoint or an outside endpoint with sampling settings, never changed again.

Knows which combinations can work; knows neither slots nor campaigns.
"""

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from modelserving.models import Checkpoint, Deployment
from modelserving.promotion import Actor

MOST_SAMPLES = 64
SECRET_NAME = re.compile(r"ENDPOINT_SECRET_[A-Z0-9_]{1,60}")
POLICIES = frozenset({Checkpoint.Kind.LANGUAGE_MODEL, Checkpoint.Kind.POLICY})


class DeploymentRefused(Exception):
    """The deployment cannot work as asked; the message says which part to change."""


def create_deployment(
    *,
    name: str,
    checkpoint: Checkpoint,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
    ranker: Checkpoint | None = None,
    best_of: int = 1,
    created_by: Actor = None,
) -> Deployment:
    """Deploy a checkpoint of ours; with a ranker it answers with the best of `best_of` samples."""
    if checkpoint.kind not in POLICIES:
        raise DeploymentRefused(
            f"{checkpoint.name} is a {checkpoint.get_kind_display()}: only language models and policies talk"
        )
    return _create(
        name=name, checkpoint=checkpoint, temperature=temperature, top_p=top_p,
        max_new_tokens=max_new_tokens, ranker=ranker, best_of=best_of, created_by=created_by,
    )  # fmt: skip


def create_endpoint_deployment(
    *,
    name: str,
    endpoint_url: str,
    endpoint_model: str,
    endpoint_secret_env: str = "",
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
    ranker: Checkpoint | None = None,
    best_of: int = 1,
    created_by: Actor = None,
) -> Deployment:
    """Deploy an OpenAI-compatible endpoint; its key stays in an environment variable."""
    url = endpoint_url.rstrip("/")
    check_endpoint(url)
    if not endpoint_model.strip():
        raise DeploymentRefused("name the model that the endpoint serves")
    if endpoint_secret_env and not SECRET_NAME.fullmatch(endpoint_secret_env):
        raise DeploymentRefused("the variable that holds the key is named ENDPOINT_SECRET_…")
    return _create(
        name=name, endpoint_url=url, endpoint_model=endpoint_model.strip(),
        endpoint_secret_env=endpoint_secret_env, temperature=temperature, top_p=top_p,
        max_new_tokens=max_new_tokens, ranker=ranker, best_of=best_of, created_by=created_by,
    )  # fmt: skip


def check_endpoint(url: str) -> None:
    """Refuse addresses that whoever runs this machine did not list in ALLOWED_ENDPOINTS."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise DeploymentRefused(f"{url}: write http(s)://host[:port]/v1")
    origin = f"{parts.scheme}://{parts.netloc}"
    if origin not in settings.ALLOWED_ENDPOINTS:
        raise DeploymentRefused(
            f"{origin} is not allowed from this server: add it to ALLOWED_ENDPOINTS in its environment"
        )


def _create(
    *, name: str, ranker: Checkpoint | None, best_of: int, temperature: float, top_p: float,
    max_new_tokens: int, **fields: object,
) -> Deployment:  # fmt: skip
    if not name.strip():
        raise DeploymentRefused("give the deployment a name")
    if not 0 <= temperature <= 10 or not 0 < top_p <= 1 or not 1 <= max_new_tokens <= 8192:
        raise DeploymentRefused(
            "choose a temperature from 0 to 10, top_p above 0 and up to 1, max_new_tokens from 1 to 8192"
        )
    if not 1 <= best_of <= MOST_SAMPLES:
        raise DeploymentRefused(f"best_of is 1 to {MOST_SAMPLES}")
    if (ranker is None) != (best_of == 1):
        raise DeploymentRefused(
            "best_of above 1 needs a ranker, and a ranker needs best_of above 1"
        )
    if ranker is not None and ranker.kind != Checkpoint.Kind.PREFERENCE_MODEL:
        raise DeploymentRefused(f"{ranker.name} is not a preference model: it cannot rank")
    try:
        with transaction.atomic():
            return Deployment.objects.create(
                name=name.strip(), ranker=ranker, best_of=best_of, temperature=temperature,
                top_p=top_p, max_new_tokens=max_new_tokens, **fields,
            )  # fmt: skip
    except IntegrityError:
        if Deployment.objects.filter(name=name.strip()).exists():
            raise DeploymentRefused(
                f"a deployment named {name!r} exists: choose another name"
            ) from None
        raise
