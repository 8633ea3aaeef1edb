"""Rows and a running fake engine for tests of what asks model servers."""

from contextlib import ExitStack, contextmanager

from modelserving.client import endpoints
from modelserving.models import Checkpoint, Deployment
from tests.fake_engine import FakeEngine, running


@contextmanager
def serving(settings, *engines: FakeEngine):
    """The engines run and are the model servers of the settings; gives their addresses."""
    with ExitStack() as stack:
        urls = [stack.enter_context(running(engine)) for engine in engines]
        settings.MODELSERVER_URLS = urls
        settings.MODELSERVER_SECRET = "a shared secret"
        try:
            yield urls
        finally:
            for endpoint in endpoints._known.values():
                endpoint.http.close()
            endpoints._known.clear()


def make_checkpoint(name="policy", kind="policy") -> Checkpoint:
    digest = name.encode().hex().zfill(64)[-64:]
    return Checkpoint.objects.get_or_create(
        hash=digest,
        defaults={"kind": kind, "origin": "trained", "name": name, "manifest": {}, "size": 1},
    )[0]


def make_deployment(name="policy", **values) -> Deployment:
    if "endpoint_url" not in values:
        values.setdefault("checkpoint", make_checkpoint(name))
    return Deployment.objects.create(name=f"deployment of {name}", max_new_tokens=64, **values)


def make_ranked(name="ranked", k=4, **values) -> Deployment:
    ranker = make_checkpoint("ranker", kind="preference_model")
    return make_deployment(name, ranker=ranker, best_of=k, **values)
