"""The median of each ranking: which response it is, how a run's page shows it, what the download holds.

Knows rankings written here by hand; nothing is sampled.
"""

import gzip
import json
from pathlib import Path

import pytest
from django.urls import reverse

from tests.comparisons.making import make_checkpoint
from tests.training.making import signed_in, text_of
from training import run_files
from training.models import TrainingRun
from training.report import rankings

HOSTILE = "<img src=x onerror=alert(1)>"


def row(index: int, *, scores: list[float]) -> dict:
    ordered = sorted(scores, reverse=True)
    return {
        "messages": [{"role": "user", "content": f"Question {index}?"}],
        "objective": "helpful",
        "responses": [
            {
                "text": f"answer {index} of score {score}",
                "score": score,
                "sample": scores.index(score),
                "finish_reason": "stop",
            }
            for score in ordered
        ],
    }


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(each) + "\n" for each in rows)


def publish(directory: Path, rows: list[dict]) -> Path:
    folder = directory / "rollouts"
    folder.mkdir(parents=True)
    (folder / "rankings.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))
    return directory


def ranked_run(rows: list[dict], *, k: int) -> TrainingRun:
    run = TrainingRun.objects.create(
        initial=make_checkpoint(), kind="best_of_k", config={"kind": "best_of_k", "k": k}
    )
    publish(run_files.directory_of(run), rows)
    return run


@pytest.mark.parametrize(
    ("scores", "median"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([float(each) for each in range(17)], 8.0),
        ([4.0, 1.0, 3.0, 2.0], 2.0),  # the lower of the two in the middle
        ([5.0, 6.0], 5.0),
    ],
)
def test_median_is_the_response_in_the_middle_and_the_lower_one_of_two(tmp_path, scores, median):
    (found,) = rankings.rankings(publish(tmp_path, [row(0, scores=scores)]))

    assert found.median["score"] == median
    assert found.best["score"] == max(scores)
    assert found.responses[found.middle - 1] is found.median


def test_rankings_of_a_run_under_way_are_read_without_its_half_line(tmp_path):
    (tmp_path / "rollouts.partial").mkdir()
    whole = lines([row(0, scores=[1.0, 2.0, 3.0])])
    (tmp_path / "rollouts.partial" / "rankings.jsonl").write_text(whole + '{"messages": [')

    assert [each.median["score"] for each in rankings.rankings(tmp_path)] == [2.0]
    assert list(rankings.rankings(tmp_path / "elsewhere")) == []


def test_pages_keep_the_runs_order_and_know_what_follows(tmp_path):
    rows = [row(index, scores=[-float(index), 0.5, 9.0]) for index in range(30)]
    publish(tmp_path, rows)

    pages = [rankings.page(tmp_path, number=number) for number in (1, 2, 3)]

    assert [(each.first, each.last, each.previous, each.next) for each in pages] == [
        (1, 12, 0, 2), (13, 24, 1, 3), (25, 30, 2, 0),
    ]  # fmt: skip
    shown = [ranking.messages for each in pages for ranking in each.rankings]
    assert shown == [each["messages"] for each in rows]
    assert rankings.page(tmp_path, number=4) is None


@pytest.mark.django_db
def test_a_page_shows_the_median_first_and_every_sample_folded_behind_it():
    run = ranked_run([row(7, scores=[0.125, 3.5, -2.0])], k=3)

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert "Median of 3 by preference model" in page
    shown, folded = page.split("All 3 samples, best first")
    assert "answer 7 of score 0.125" in shown
    assert "score 0.13 · the best has 3.50" in shown
    assert "score 3.5<" not in shown
    order = [folded.index(f"answer 7 of score {score}") for score in (3.5, 0.125, -2.0)]
    assert order == sorted(order)
    assert page.count('aria-current="true"') == 1
    assert "is even" not in page


@pytest.mark.django_db
def test_a_page_of_an_even_k_says_which_of_two_it_shows():
    run = ranked_run([row(0, scores=[1.0, 2.0])], k=2)

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert "2 is even: it is the lower of the two in the middle." in page


@pytest.mark.django_db
def test_hostile_prompts_and_samples_stay_text():
    hostile = row(0, scores=[1.0, 2.0, 3.0])
    hostile["messages"][0]["content"] = HOSTILE
    for response in hostile["responses"]:
        response["text"] = HOSTILE

    run = ranked_run([hostile], k=3)
    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert HOSTILE not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 5


@pytest.mark.django_db
def test_prompts_beyond_the_first_page_are_a_link_away():
    run = ranked_run([row(index, scores=[1.0, 2.0, 3.0]) for index in range(13)], k=3)
    client, address = signed_in(), reverse("run", args=[run.public_id])

    first, second = (text_of(client.get(f"{address}?page={number}")) for number in (1, 2))
    odd = text_of(client.get(f"{address}?page=nonsense"))

    assert 'href="?page=2#medians"' in first
    assert "Question 12?" not in first
    assert "Prompts 13 to 13" in second
    assert 'href="?page=1#medians"' in second
    assert "Prompts 1 to 12" in odd
    assert client.get(f"{address}?page={'9' * 5000}").status_code == 200


@pytest.mark.django_db
def test_the_download_holds_the_median_of_every_prompt_for_researchers_alone():
    run = ranked_run([row(index, scores=[1.0, 2.0, 3.0 + index]) for index in range(13)], k=3)
    address = reverse("run_medians", args=[run.public_id])

    answer = signed_in().get(address)

    found = [json.loads(line) for line in answer.content.decode().splitlines()]
    assert len(found) == 13
    assert found[1] == {
        "messages": [{"role": "user", "content": "Question 1?"}],
        "objective": "helpful",
        "response": "answer 1 of score 2.0",
        "score": 2.0,
        "sample": 1,
        "finish_reason": "stop",
        "median_of": 3,
        "best_score": 4.0,
    }
    assert "attachment" in answer["Content-Disposition"]
    assert signed_in("crowdworker").get(address).status_code == 404


@pytest.mark.django_db
def test_a_run_without_rankings_has_neither_medians_nor_their_download():
    run = TrainingRun.objects.create(
        initial=make_checkpoint(), kind="best_of_k", config={"kind": "best_of_k"}
    )
    client = signed_in()

    assert "by preference model" not in text_of(client.get(reverse("run", args=[run.public_id])))
    assert client.get(reverse("run_medians", args=[run.public_id])).status_code == 404


@pytest.mark.django_db
def test_the_checkpoint_leads_to_the_medians_of_its_samples():
    run = ranked_run([row(0, scores=[1.0, 2.0, 3.0])], k=3)
    TrainingRun.objects.update(state="done")
    waiting = TrainingRun.objects.create(kind="best_of_k", config={}, initial=run.initial)

    page = text_of(signed_in().get(reverse("checkpoint", args=[run.initial.hash])))

    assert f'{reverse("run", args=[run.public_id])}#medians">its medians</a>' in page
    assert f"best of k {waiting.pk}</a> (queued)" in page
    assert page.count("its medians") == 1
