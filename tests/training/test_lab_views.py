"""The lab's pages of runs: who sees them, what they say, refusals that keep what was typed.

Knows pages by address; no model is trained here.
"""

import json
import re
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from tests.comparisons.making import (
    make_checkpoint,
)
from tests.training.making import end_run, make_release, signed_in, text_of, write_starter
from training import leases, run_files
from training.models import TrainingRun

pytestmark = pytest.mark.django_db
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
HOSTILE = "<img src=x onerror=alert(1)>"
PAGES = [
    "lab_runs", "new_run", "lab_iterations", "lab_checkpoints", "lab_slots", "leaderboard", "lab_servers",
]  # fmt: skip


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]


def make_run(**values) -> TrainingRun:
    values = {
        "kind": "preference_model",
        "config": {"kind": "preference_model", "seed": 3},
    } | values
    return TrainingRun.objects.create(initial=make_checkpoint(), **values)


def write(run: TrainingRun, **files: str) -> None:
    directory = run_files.directory_of(run)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("name", PAGES)
def test_staff_see_the_lab_and_nobody_else(name):
    address = reverse(name)

    assert signed_in().get(address).status_code == 200
    assert signed_in("administrator").get(address).status_code == 200
    assert signed_in("crowdworker").get(address).status_code == 404
    assert Client().get(address)["Location"].startswith(reverse("sign_in"))


def test_runs_show_state_reason_and_one_figure_with_its_interval():
    done = make_run(name="it2")
    accuracy = {"value": 0.641, "low": 0.603, "high": 0.678, "n": 618}
    end_run(done, kind="preference_model", test_accuracy=accuracy)
    make_run(name="it1", state="failed", reason="disk full, needs 1.2 GB, 0.3 free")
    make_run(kind="ppo", name="other")

    page = text_of(signed_in().get(reverse("lab_runs") + "?kind=preference_model"))

    assert "test accuracy 64.1 % (60.3 % to 67.8 %), n=618" in page
    assert "failed: disk full, needs 1.2 GB, 0.3 free" in page
    assert ">3 other<" not in page


def test_a_run_page_shows_lineage_settings_and_hostile_text_as_text():
    run = make_run(name=HOSTILE)
    sample = {
        "step": 1,
        "prompt": [{"role": "user", "content": HOSTILE}],
        "response": HOSTILE,
        "score": 0.5,
    }
    write(run, samples__jsonl=json.dumps(sample) + "\n", log__txt=f"{HOSTILE}\n")

    response = signed_in().get(reverse("run", args=[run.public_id]))
    page = text_of(response)

    assert HOSTILE not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    assert str(run.initial) in page
    assert "style=" not in page
    assert "<script>" not in page


def test_a_poll_reads_the_rows_state_and_no_file_of_the_run():
    run = make_run()
    write(run, samples__jsonl='{"step": 1, "prompt": "p", "response": "r", "score": 1}\n')
    address = reverse("run", args=[run.public_id])

    whole = signed_in().get(address)
    polled = signed_in().get(address, headers={"HX-Request": "true"})

    assert {"samples", "medians", "log", "elo", "evaluation"} <= whole.context.keys()
    assert {"samples", "medians", "log", "elo", "evaluation"} & set(
        polled.context.flatten()
    ) == set()
    polled_text, whole_text = (TOKEN.sub("", text_of(each)) for each in (polled, whole))
    assert polled_text in whole_text
    assert "Stop…" in polled_text


def test_a_poll_of_an_ended_run_has_nothing_to_stop_and_is_the_last():
    run = make_run()
    TrainingRun.objects.filter(pk=run.pk).update(state="done")

    polled = signed_in().get(reverse("run", args=[run.public_id]), headers={"HX-Request": "true"})

    assert polled.status_code == 286  # htmx asks no more
    assert "Stop…" not in text_of(polled)


def test_the_newest_samples_are_shown_however_many_were_written():
    run = make_run()
    row = {"prompt": "p" * 60, "response": "r" * 100, "score": 1.0}
    lines = (json.dumps({"step": step, **row}) + "\n" for step in range(21_000))
    write(run, samples__jsonl="".join(lines) + '{"step": 21000, "prom')  # half written

    shown = signed_in().get(reverse("run", args=[run.public_id])).context["samples"]

    assert [each["step"] for each in shown] == list(range(20_999, 20_987, -1))


def test_rows_are_handed_out_from_a_byte_offset_on():
    run = make_run()
    write(run, metrics__jsonl='{"step": 1, "pm/loss": 0.7}\n{"step": 2, "pm/l')
    client, address = signed_in(), reverse("run_rows", args=[run.public_id])

    first = client.get(address).json()
    write(run, metrics__jsonl='{"step": 1, "pm/loss": 0.7}\n{"step": 2, "pm/loss": 0.6}\n')
    second = client.get(f"{address}?offset={first['offset']}").json()

    assert first["rows"] == [{"step": 1, "pm/loss": 0.7}]
    assert second["rows"] == [{"step": 2, "pm/loss": 0.6}]
    assert first["is_waiting"]
    assert (first["is_over"], client.get(f"{address}?offset=-1").status_code) == (False, 200)
    assert client.get(f"{address}?offset={'9' * 5000}").json() == client.get(address).json()


@pytest.mark.parametrize(("kind", "has_curves"), [("evaluation", False), ("language_model", True)])
def test_a_run_that_measures_once_waits_for_no_curve(kind: str, has_curves: bool):
    run = make_run(kind=kind)

    page = signed_in().get(reverse("run", args=[run.public_id])).content.decode()

    assert ("data-curve=" in page) == has_curves
    assert ('<section aria-labelledby="curves" hidden>' in page) != has_curves
    assert "data-rows-url=" in page


def test_picked_runs_stand_side_by_side_with_what_differs():
    one = make_run(name="slow", config={"seed": 3, "learning_rate": 1e-5})
    two = make_run(name="fast", config={"seed": 3, "learning_rate": 1e-3})
    for run in (one, two):
        write(run, metrics__jsonl='{"step": 1, "pm/loss": 0.7}\n')
    write(two, metrics__jsonl='{"step": 1, "pm/loss": 0.7, "pm/only": 1}\n')
    address = reverse("compare_runs") + f"?run={one.public_id}&run={two.public_id}&run=nonsense"

    page = text_of(signed_in().get(address))

    assert "<td>learning_rate</td><td>1e-05</td><td>0.001</td>" in page
    assert "<td>seed</td>" not in page
    assert 'data-compare="pm/loss"' in page
    assert "pm/only" not in page


def test_figures_are_svg_drawn_from_the_run_or_not_there():
    run = make_run()
    write(run, metrics__jsonl='{"step": 1, "pm/loss": 0.7}\n')
    client = signed_in()

    figure = client.get(reverse("run_figure", args=[run.public_id, "learning"]))

    assert figure["Content-Type"] == "image/svg+xml"
    assert b"<svg" in figure.content
    assert client.get(reverse("run_figure", args=[run.public_id, "calibration"])).status_code == 404
    assert client.get(reverse("run_figure", args=[run.public_id, "no-such"])).status_code == 404


def test_a_figure_opens_large_with_the_look_that_it_brings_along():
    run = make_run()
    TrainingRun.objects.filter(pk=run.pk).update(state="done")
    write(run, metrics__jsonl='{"step": 1, "pm/loss": 0.7}\n')
    client, figure = signed_in(), reverse("run_figure", args=[run.public_id, "learning"])

    page = text_of(client.get(reverse("run", args=[run.public_id])))
    large = client.get(figure + "?large")
    policy, (tag,) = (
        large["Content-Security-Policy"],
        re.findall(r"<svg[^>]*>", large.content.decode()),
    )

    assert "viewBox=" in tag
    assert "width=" not in tag
    assert "height=" not in tag
    assert f'<a href="{figure}?large"><img src="{figure}"' in page
    assert "style-src 'unsafe-inline'" in policy
    assert "default-src 'none'" in policy


def test_accuracies_stand_in_percent_and_turns_are_counted_from_one():
    share = {"value": 2 / 3, "low": 0.354, "high": 0.879, "n": 9}
    run = make_run()
    TrainingRun.objects.filter(pk=run.pk).update(
        state="done", results={"test_accuracy": share, "expected_calibration_error": 0.1891}
    )
    found = {"by_objective": {"helpful": share}, "by_turn": {"0": share, "1": share, "6+": share}}
    write(run, evaluation__json=json.dumps(found))

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    cells = '<td class="number">66.7</td><td class="number">35.4</td><td class="number">87.9</td>'
    for part in ("helpful", "turn 1", "turn 2", "turn 7+"):
        assert f"<td>{part}</td>{cells}" in page
    assert "turn 0" not in page
    assert "<dd>0.1891, n=9</dd>" in page


def test_a_run_is_started_once_however_often_the_form_is_sent():
    make_release("r1")
    client, key = signed_in(), str(uuid.uuid4())
    release = TrainingRun._meta.get_field("release").related_model.objects.get()
    form = {
        "kind": "preference_model", "request_key": key, "preset": "demo", "release": release.pk,
        "name": "it3", "set:learning_rate": "1e-5",
    }  # fmt: skip

    answers = [client.post(reverse("new_run"), form) for _ in range(2)]

    run = TrainingRun.objects.get()
    assert {each["Location"] for each in answers} == {reverse("run", args=[run.public_id])}
    assert (run.config["learning_rate"], run.name) == (1e-5, "it3")


def test_a_refused_run_says_why_and_keeps_what_was_typed():
    form = {
        "kind": "preference_model", "request_key": uuid.uuid4(), "preset": "demo", "name": "it3",
        "set:learning_rate": "fast",
    }  # fmt: skip

    response = signed_in().post(reverse("new_run"), form)
    page = text_of(response)

    assert response.status_code == 400
    assert "learning_rate" in page.split('role="alert"')[1][:300]
    assert 'value="fast"' in page
    assert 'value="it3"' in page


def test_a_new_run_can_take_the_settings_of_an_old_one():
    old = make_run(
        name="it2", preset="demo", config={"kind": "preference_model", "learning_rate": 7e-4}
    )

    page = text_of(
        signed_in().get(reverse("new_run") + f"?kind=preference_model&from={old.public_id}")
    )

    assert 'value="0.0007"' in page
    assert 'value="it2"' in page
    assert signed_in().get(reverse("new_run") + "?from=nonsense").status_code == 200


def test_stop_asks_a_running_run_and_only_by_post():
    run = make_run()
    leases.claim(run.pk, owner="worker")
    client, address = signed_in(), reverse("stop_run", args=[run.public_id])

    assert client.get(address).status_code == 405
    client.post(address)
    run.refresh_from_db()

    assert run.is_stop_requested


def test_weights_are_counted_in_one_way_and_those_of_an_adapter_are_called_so():
    base = make_checkpoint(name="whole", parameters=5_800_000)
    make_checkpoint(name="light", parameters=98_304, base=base)

    page = text_of(signed_in().get(reverse("lab_checkpoints")))

    assert '<td class="number">5.8 million</td>' in page
    assert '<td class="number">98,304 (adapter)</td>' in page
