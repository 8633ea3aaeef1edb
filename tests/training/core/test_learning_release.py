"""The release that learning is measured on: our own split of public files, readable like any other."""

import gzip
import json
from pathlib import Path

from training.bench.learning import make_release
from training.core.data import read_release


def write_hh(folder: Path) -> Path:
    folder.mkdir()
    for name in ("helpful-base", "harmless-base"):
        lines = [
            {
                side: f"\n\nHuman: {name} question {index % 40}\n\nAssistant: {side} {index}"
                for side in ("chosen", "rejected")
            }
            for index in range(80)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_no_first_message_stands_in_both_splits_and_tests_are_the_same_for_all(tmp_path: Path):
    hh = write_hh(tmp_path / "hh")

    mix = make_release(tmp_path / "mix", hh=hh)
    helpful = make_release(tmp_path / "helpful", hh=hh, train_on="helpful")

    train, test = read_release(mix, "train"), read_release(mix, "test")
    assert len(train) + len(test) == 160
    assert not {r.first_human_message for r in train} & {r.first_human_message for r in test}
    assert {r.objective for r in test} == {"helpful", "harmless"}
    assert read_release(helpful, "test") == test
    assert read_release(helpful, "train") == [r for r in train if r.objective == "helpful"]


def test_what_the_file_calls_chosen_is_chosen_under_either_question(tmp_path: Path):
    release = make_release(tmp_path / "mix", hh=write_hh(tmp_path / "hh"))

    for row in read_release(release, "train"):
        assert row.chosen.startswith("chosen ")
        assert row.rejected.startswith("rejected ")
