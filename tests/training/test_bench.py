"""What `./start bench training` makes of its children's numbers."""

import argparse
import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig

from training.bench.__main__ import (
    ChildFailed,
    _setting,
    alternated,
    asked,
    child,
    contestants,
    prepared,
    rival_environment,
    summary,
)
from training.bench.ours import _comparison, _products
from training.bench.workload import SIZES, TASKS, Size, hh_dialogues, load, write


def test_ratios_are_over_the_fastest_and_leanest_of_the_rival():
    found = {
        "pm": [{"pairs_per_second": speed, "gflops": 80.0, "peak_mib": 300.0} for speed in (9, 10, 30)],
        "trl_pm": [{"pairs_per_second": 2.0, "peak_mib": 500.0}],
        "ppo": [{"seconds_per_step": 2.0, "peak_mib": 400.0}],
        "trl_ppo": [{"seconds_per_step": 12.0, "peak_mib": 700.0}],
        "trl_ppo_all_bfloat16": [{"seconds_per_step": 8.0, "peak_mib": 800.0}],
    }  # fmt: skip

    numbers = summary(found, limits=[100.0, 160.0, 400.0])

    assert numbers["pm_over_trl_default"] == 5.0
    assert numbers["pm_share_of_matmul_limit"] == 0.5
    assert numbers["ppo_over_trl"] == 4.0
    assert numbers["ppo_peak_memory_over_trl"] == round(400 / 700, 2)
    assert not {"pm_over_trl_tuned", "ppo_shared_over_trl", "pm_peak_memory_over_trl"} & set(
        numbers
    )


def test_a_task_is_changed_by_the_names_it_has():
    assert _setting("ppo_batch=16") == ("ppo_batch", 16)
    for wrong in ("device=1", "rows=3", "batch"):
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            _setting(wrong)


@pytest.mark.parametrize(
    ("folder", "named", "found"),
    [("/rows", "a.gz", "/rows/a.gz"), ("/rows", "/b.gz", "/b.gz"), ("", "a.gz", "a.gz")],
)
def test_files_count_from_where_start_was_called(monkeypatch, folder, named, found):
    monkeypatch.setenv("CALLED_FROM", folder)
    monkeypatch.setattr("sys.argv", ["bench", "--hh", named, "--environments", named])

    options = asked()

    assert (options.hh, options.environments) == (Path(found), Path(found))


def test_without_the_rival_only_ours_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("training.bench.__main__.rival_environment", lambda *_, **__: None)

    rows = contestants(tmp_path, work=tmp_path, precision="float32")

    assert list(rows) == ["pm", "ppo", "ppo_shared"]


def test_products_are_counted_as_they_are_multiplied():
    comparison = _comparison(0, ([5, 6, 7, 8], [5, 6, 9]))  # five tokens as a tree
    config = LlamaConfig(
        hidden_size=8, intermediate_size=12, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip

    keys_values, others = 2 * 8 * 4, 2 * 8 * 8 + 3 * 8 * 12
    full, last = 5 * (keys_values + others), 5 * keys_values + 2 * others
    assert _products([comparison], config=config) == 2 * full + last


@pytest.mark.parametrize("changes", [{"batch": 100}, {"rival_ppo_rows": 0}, {"ppo_steps": 2}])
def test_what_the_two_sides_would_do_differently_is_refused(changes: dict):
    with pytest.raises(ValueError, match=r"multiple of it|or more"):
        replace(TASKS["cuda"], **changes)
    assert all(size.heads % size.key_heads == 0 for size in SIZES.values())


def test_too_few_comparisons_for_the_task_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs 64 or more"):
        write(tmp_path, comparisons=63, hh=None, size=SIZES["6m"], task=TASKS["cpu"])


def test_random_words_do_where_there_is_no_file(tmp_path):
    tiny = Size(hidden=8, layers=1, intermediate=8, heads=2, key_heads=2)

    write(tmp_path, comparisons=70, hh=None, size=tiny, task=TASKS["cpu"])

    assert [len(each) for each in (load(tmp_path).pairs, load(tmp_path).prompts)] == [70, 70]


@pytest.mark.parametrize("opened", [gzip.open, open])
def test_a_public_file_is_read_packed_or_not(tmp_path, opened):
    row = {side: f"\n\nHuman: Hello\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    with opened(tmp_path / "hh", "wt", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")

    [dialogue] = hh_dialogues(tmp_path / "hh")

    assert (dialogue["chosen"].strip(), dialogue["rejected"].strip()) == ("chosen", "rejected")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ('{"chosen": "a", "rejected": "b"}', "no row of a public HH file in line 1"),
        ('\n{"prompt": "a"}', "in line 1"),
        ("not JSON", "in line 1"),
    ],
)
def test_a_file_that_is_none_ends_with_one_line_that_names_it(tmp_path, text, said):
    path = tmp_path / "rows.jsonl"
    if text:
        path.write_text(text)
    options = argparse.Namespace(device="cpu", set=[], comparisons=64, hh=path)

    with pytest.raises(SystemExit, match=said) as ended:
        prepared(tmp_path, options=options, size="6m")
    assert str(path) in str(ended.value)


def test_a_rival_whose_row_fails_is_left_out_and_ours_go_on(capsys):
    rows = {"pm": _printing({"pairs_per_second": 3.0}), "trl_pm": [sys.executable, "-c", "1 / 0"]}
    options = argparse.Namespace(repeats=2, device="cpu", threads=1)

    found, limits = alternated(rows, options=options, precision="float32")

    assert found == {"pm": [{"pairs_per_second": 3.0}] * 2}
    assert len(limits) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ours_that_fail_end_the_bench():
    options = argparse.Namespace(repeats=1, device="cpu", threads=1)

    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        child([sys.executable, "-c", "1 / 0"], threads=1)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        alternated({"pm": [sys.executable, "-c", "1 / 0"]}, options=options, precision="float32")


def test_an_environment_that_could_not_be_installed_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    nothing = Path(tmp_path, "requirements.txt")
    nothing.write_text("a-package-that-is-nowhere==1\n")
    folder = tmp_path / "rival"

    assert rival_environment(folder, requirements=str(nothing)) is None
    assert rival_environment(folder, requirements=str(nothing)) is None
    nothing.write_text("")
    assert rival_environment(folder, requirements=str(nothing)) == folder / "bin" / "python"


def test_an_environment_whose_making_was_killed_is_made_again(tmp_path):
    nothing = Path(tmp_path, "requirements.txt")
    nothing.write_text("")
    begun = tmp_path / "rival" / "bin" / "python"  # what stands there first
    begun.parent.mkdir(parents=True)
    begun.touch()

    python = rival_environment(tmp_path / "rival", requirements=str(nothing))

    assert python == begun
    subprocess.run([python, "-c", "import torch"], check=True)


def _printing(found: dict) -> list[str]:
    return [sys.executable, "-c", f"print({json.dumps(json.dumps(found))})"]
