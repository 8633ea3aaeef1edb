"""Runs over the REST API: who may start one, what is refused and how, the same key twice."""

import json
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.services.accounts import make_api_token
from tests.comparisons.making import make_account, make_checkpoint
from tests.training.making import make_release, write_starter
from training import run_files
from training.models import TrainingRun

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/runs/"


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.fixture
def call():
    def answer(method, address, *, scope="run", role="researcher", **body):
        token = make_api_token(make_account(role), name="t", scope=scope)
        return getattr(Client(), method)(
            address, body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
        )

    return answer


def test_a_run_is_started_listed_read_and_stopped(call):
    make_release("r1")

    made = call(
        "post", RUNS, kind="preference_model", release="r1", overrides={"seed": "7"}, name="pm"
    )

    assert made.status_code == 201, made.content
    run = TrainingRun.objects.get()
    assert made.json()["public_id"] == str(run.public_id)
    assert (run.config["seed"], run.state, run.requested_by.role) == (7, "queued", "researcher")
    address = reverse("api_run", args=[run.public_id])
    listed = call("get", f"{RUNS}?kind=preference_model", scope="read").json()["results"]
    assert [each["name"] for each in listed] == ["pm"]
    assert call("get", f"{RUNS}?kind=ppo", scope="read").json()["results"] == []
    assert call("get", address, scope="read").json()["release"] == "r1"
    assert call("post", f"{address}stop/").json()["state"] == "stopped"


def test_settings_are_taken_as_json_has_them(call):
    make_release("r1")
    wanted = {
        "activation_checkpointing": True,
        "objective_weights": {"helpful": 1, "harmless": 0.5},
        "objectives": ["helpful", "harmless"],
        "learning_rate": 1e-5,
        "lora.rank": 8,
        "strength": "ignore",
    }

    made = call("post", RUNS, kind="preference_model", release="r1", overrides=wanted)

    assert made.status_code == 201, made.content
    config = TrainingRun.objects.get().config
    assert config["lora"]["rank"] == wanted.pop("lora.rank")
    assert {name: config[name] for name in wanted} == wanted


def test_the_same_key_gives_the_same_run(call):
    make_release("r1")
    key = str(uuid.uuid4())

    answers = [
        call("post", RUNS, kind="preference_model", release="r1", request_key=key) for _ in range(2)
    ]

    assert len({each.json()["public_id"] for each in answers}) == 1
    assert TrainingRun.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "preference_model"}, "needs a release"),
        ({"kind": "preference_model", "release": "r1", "preset": "huge"}, "no preset"),
        ({"kind": "preference_model", "release": "r1", "overrides": {"lerning_rate": "1"}}, "learning_rate"),
        ({"kind": "ppo", "release": "r1"}, "There is no preference model yet"),
        ({"kind": "ppo", "release": "r1", "ranker": "nothing"}, "There is no preference model 'nothing'"),
        ({"kind": "preference_model", "release": "r1", "overrides": {"learning_rate": "1e999"}}, "finite"),
        ({"kind": "preference_model", "release": "r1", "overrides": {"seed": "9" * 40}}, "64 bits"),
        ({"kind": "sorcery"}, "is not a kind of run: choose one of"),
        ({"kind": "preference_model", "release": "r9"}, "no release is called r9"),
        ({"kind": "preference_model", "release": "r1", "overides": {"seed": "7"}}, "did you mean overrides?"),
        ({"kind": "preference_model", "release": "r1", "intial": "x"}, "did you mean initial?"),
        ({"kind": "preference_model", "release": "r1", "overrides": {"objectives": "x" * 2001}}, "write at most 2000"),
        ({"kind": "preference_model", "release": "r1", "overrides": {"seed": None}}, "may not be null"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_the_reason(call, body, says):
    make_release("r1")

    refused = call("post", RUNS, **body)

    assert refused.status_code == 400
    assert says in json.dumps(refused.json())
    assert not TrainingRun.objects.exists()


def test_a_body_nested_too_deeply_is_the_clients_error():
    token = make_api_token(make_account(role="researcher"), name="t", scope="run")

    refused = Client().post(
        RUNS, data="[" * 100_000, content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip

    assert refused.status_code == 400
    assert "nested too deeply" in refused.json()["detail"]


def test_a_token_that_only_reads_starts_nothing_and_a_crowdworker_sees_nothing(call):
    make_release("r1")

    assert (
        call("post", RUNS, scope="read", kind="preference_model", release="r1").status_code == 403
    )
    assert call("get", RUNS, role="crowdworker").status_code == 403
    assert Client().get(RUNS).status_code == 401
    assert not TrainingRun.objects.exists()


def test_metrics_are_read_from_an_offset_on(call):
    run = TrainingRun.objects.create(kind="preference_model", config={}, initial=make_checkpoint())
    directory = run_files.directory_of(run)
    directory.mkdir(parents=True)
    (directory / "metrics.jsonl").write_text('{"step": 1, "pm/loss": 0.7}\n{"step": 2')
    address = reverse("api_run_metrics", args=[run.public_id])

    first = call("get", address, scope="read").json()

    assert first["rows"] == [{"step": 1, "pm/loss": 0.7}]
    assert call("get", f"{address}?offset={first['offset']}", scope="read").json()["rows"] == []
    assert call("get", f"{address}?offset={'9' * 5000}", scope="read").json() == first


@pytest.mark.parametrize(
    ("asked", "name", "says"),
    [
        (
            "state=bogus",
            "state",
            '"bogus" is not a state of a run: choose one of queued, running, done, stopped, failed',
        ),
        ("kind=PPO", "kind", '"PPO" is not a kind of run: choose one of language_model, context_'),
        ("kind=ppo&state=Failed", "state", '"Failed" is not a state of a run'),
    ],
)
def test_a_filter_that_is_none_is_refused_with_those_there_are(call, asked, name, says):
    refused = call("get", f"{RUNS}?{asked}", scope="read")

    assert (refused.status_code, list(refused.json())) == (400, [name])
    assert refused.json()[name][0].startswith(says)


@pytest.mark.parametrize("asked", ["", "?kind=&state=", "?state=queued", "?kind=ppo&state=queued"])
def test_filters_that_are_left_out_or_empty_take_all(call, asked):
    TrainingRun.objects.create(kind="ppo", config={}, initial=make_checkpoint())

    assert len(call("get", f"{RUNS}{asked}", scope="read").json()["results"]) == 1


def test_the_description_lists_the_values_of_each_filter(call):
    described = call("get", reverse("api_schema"), scope="read").json()["paths"][RUNS]["get"]

    enums = {each["name"]: each["schema"].get("enum") for each in described["parameters"]}
    assert described["description"].startswith("All training runs, newest first")
    assert enums == {
        "cursor": None, "page_size": None,
        "kind": TrainingRun.Kind.values, "state": TrainingRun.State.values,
    }  # fmt: skip
