"""Releases: what is in and why not the rest, splits that never mix, bytes that repeat."""

import gzip
import json

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from comparisons.models import DatasetRelease, Flag, ReleaseComparison
from comparisons.queries.releases import ReleaseFilters, release_counts
from comparisons.services.importing import import_hh
from comparisons.services.releasing import (
    ReleaseNameTaken,
    ReleaseRefused,
    cut,
    cut_release,
    directory_of,
    open_release,
    take_up_waiting,
    verify_release,
)
from modelserving.core.artifacts import ArtefactError, read_manifest
from modelserving.models import Deployment
from tests.comparisons.making import (
    make_campaign,
    make_checkpoint,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db


def rows_of(release: DatasetRelease, split: str) -> list[dict]:
    path = directory_of(release) / f"{split}.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def all_rows(release: DatasetRelease) -> list[dict]:
    return rows_of(release, "train") + rows_of(release, "test")


def test_a_row_carries_the_dialogue_of_picked_responses_unflipped():
    red_team = make_campaign(objective="harmless", tranche="online")
    conversation = make_conversation(campaign=red_team)
    ours, theirs = make_deployment(), make_deployment()
    Deployment.objects.filter(pk=ours.pk).update(
        best_of=4, ranker=make_checkpoint(kind="preference_model")
    )
    make_comparison(conversation, message="One", picked="worse", other="better")
    second = make_comparison(
        conversation, message="Two", picked="nasty", other="nice", picked_by=ours,
        other_by=theirs, strength=4,
    )  # fmt: skip

    release = cut_release("r-1", test_percent=0)

    row = rows_of(release, "train")[1]
    assert row == {
        "comparison": str(second.public_id),
        "conversation": str(conversation.public_id),
        "turn": 1,
        "messages": [
            {"role": "user", "content": "One"},
            {"role": "assistant", "content": "worse"},
            {"role": "user", "content": "Two"},
        ],
        "picked": "nasty",
        "other": "nice",
        "question": "more_harmful",
        "objective": "harmless",
        "strength": 4,
        "tranche": "online",
        "origin": "crowd",
        "picked_checkpoint": ours.checkpoint.hash,
        "other_checkpoint": theirs.checkpoint.hash,
        "finish_reasons": ["stop", "stop"],
        "best_of": [4, 1],
    }
    assert release.state == DatasetRelease.State.FROZEN
    assert release.counts["by"] == [
        {"objective": "harmless", "tranche": "online", "train": 2, "test": 0}
    ]
    verify_release(release)


def test_each_reason_leaves_out_its_own_comparison_and_is_counted():
    campaign = make_campaign()

    def made(**values):
        return make_comparison(make_conversation(campaign=campaign), **values)

    kept = made(picked="kept", strength=None)
    made(superseded_at=now())
    made(set_aside_at=now())
    made(origin="simulated")
    made(strength=1)
    made(finish_reason="stopped")
    made(picked="same", other="same")
    withdrawn = made()
    withdrawn.turn.conversation.is_withdrawn = True
    withdrawn.turn.conversation.save(update_fields=["is_withdrawn"])
    left = make_crowdworker(standing="withdrawn")
    make_comparison(make_conversation(campaign=campaign, crowdworker=left))
    flagged = make_conversation(campaign=campaign)
    before = make_comparison(flagged, message="before", picked="before")
    about = make_comparison(flagged, message="my number is")
    make_comparison(flagged, message="after")
    flag = Flag.objects.create(
        turn=about.turn, crowdworker=flagged.crowdworker, kind=Flag.Kind.PERSONAL_DATA
    )

    counts = release_counts(ReleaseFilters())
    release = cut_release("r-1", test_percent=0)

    assert {reason: count for reason, _words, count in counts.left_out} == {
        "superseded": 1, "set_aside": 1, "withdrawn": 2, "simulated": 1, "unsure": 1,
        "stopped": 1, "same_text": 1, "flagged": 2,
    }  # fmt: skip
    assert (counts.total, counts.kept) == (12, 2)
    assert {row["comparison"] for row in all_rows(release)} == {
        str(kept.public_id), str(before.public_id),
    }  # fmt: skip
    assert release.counts["left_out"]["flagged"] == 2
    flag.resolved_at = now()
    flag.save(update_fields=["resolved_at"])
    assert release_counts(ReleaseFilters()).kept == 4


def test_filters_narrow_by_objective_tranche_and_let_simulated_in():
    make_comparison(make_conversation(campaign=make_campaign()))
    make_comparison(make_conversation(campaign=make_campaign(objective="harmless")))
    make_comparison(make_conversation(campaign=make_campaign(tranche="online")), origin="simulated")

    assert release_counts(ReleaseFilters(objectives=("harmless",))).kept == 1
    assert release_counts(ReleaseFilters(tranches=("online",))).kept == 0
    assert release_counts(ReleaseFilters(tranches=("online",), has_simulated=True)).kept == 1
    with pytest.raises(ValueError, match="honest"):
        ReleaseFilters(objectives=("honest",))


def test_no_first_message_stands_in_both_splits_within_and_across_releases():
    lines = []
    for i in range(120):
        for j in range(2):
            chosen = f"\n\nHuman: question {i}\n\nAssistant: good {j}"
            rejected = f"\n\nHuman: question {i}\n\nAssistant: bad {j}"
            lines.append(json.dumps({"chosen": chosen, "rejected": rejected}))
    import_hh(lines[:150], objective="helpful", tranche="base")
    first = cut_release("first", test_percent=20)
    import_hh(lines, objective="helpful", tranche="base")
    second = cut_release("second", test_percent=20)

    sides = {"train": set(), "test": set()}
    for release in (first, second):
        for split, messages in sides.items():
            messages |= {row["messages"][0]["content"] for row in rows_of(release, split)}
    assert not sides["train"] & sides["test"]
    assert len(sides["train"] | sides["test"]) == 120
    assert 10 <= len(sides["test"]) <= 40
    assert (second.counts["train"] + second.counts["test"]) == 240
    assert (
        ReleaseComparison.objects.filter(release=second, split="test").count()
        == (second.counts["test"])
    )


def test_the_same_comparisons_give_the_same_bytes():
    for i in range(5):
        make_comparison(make_conversation(), message=f"é {i}", picked="\u2028 ok \U0001f375")

    first, second = cut_release("one"), cut_release("two")

    assert first.manifest_sha256 == second.manifest_sha256
    assert dict(read_manifest(directory_of(first)).files) == dict(
        read_manifest(directory_of(second)).files
    )


def test_a_name_is_taken_once_and_a_frozen_release_stays_as_it_is():
    make_comparison(make_conversation())
    first = cut_release("r-1")
    make_comparison(make_conversation())

    with pytest.raises(ReleaseNameTaken):
        cut_release("r-1")
    again = cut(first)

    assert again.manifest_sha256 == first.manifest_sha256
    assert len(all_rows(first)) == 1


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/b", "../a", "/etc", "a..b", "A", "x" * 65, ".a", "a.", "a\x00", "a.partial", "é"],
)
def test_a_name_that_could_leave_the_folder_is_refused(name, artefacts):
    make_comparison(make_conversation())

    with pytest.raises(ReleaseRefused):
        cut_release(name)

    assert not DatasetRelease.objects.exists()
    assert not list(artefacts.rglob("*"))


def test_nothing_to_release_is_refused_in_words():
    with pytest.raises(ReleaseRefused, match="no comparison is left"):
        cut_release("empty")
    make_comparison(make_conversation())
    with pytest.raises(ReleaseRefused, match="test share"):
        cut_release("share", test_percent=99)


def test_a_cut_that_was_killed_is_taken_up_and_a_failed_name_is_free_again(artefacts):
    make_comparison(make_conversation())
    killed = open_release("killed", test_percent=0, filters=None, created_by=None)
    leftover = artefacts / "releases" / "killed.partial"
    leftover.mkdir(parents=True)
    (leftover / "train.jsonl.gz").write_bytes(b"half")
    failed = open_release("failed", test_percent=0, filters=None, created_by=None)
    DatasetRelease.objects.filter(pk=failed.pk).update(state="failed", failure="disk full")

    take_up_waiting()
    again = cut_release("failed", test_percent=0)

    killed.refresh_from_db()
    assert killed.state == again.state == DatasetRelease.State.FROZEN
    assert again.pk == failed.pk
    assert again.failure == ""
    verify_release(killed)
    assert not leftover.exists()


def test_a_full_disk_fails_the_release_and_says_so(artefacts):
    make_comparison(make_conversation())
    release = open_release("r-1", test_percent=0, filters=None, created_by=None)
    (artefacts / "releases").mkdir()
    (artefacts / "releases" / "r-1.partial").write_text("in the way")

    with pytest.raises(ReleaseRefused, match="r-1 failed"):
        cut(release)

    release.refresh_from_db()
    assert release.state == DatasetRelease.State.FAILED
    assert release.failure


def test_changed_files_are_noticed():
    make_comparison(make_conversation())
    release = cut_release("r-1", test_percent=0)

    path = directory_of(release) / "train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="sha256"):
        verify_release(release)


def test_command_cuts_and_prints_counts(capsys):
    make_comparison(make_conversation())
    make_comparison(make_conversation(), strength=1)

    call_command("cut_release", "r-1", "--test-percent", "0", "--objective", "helpful")

    said = capsys.readouterr().out
    assert "r-1: frozen, train 1, test 0" in said
    assert "left out, unsure: 1" in said
    with pytest.raises(CommandError, match="exists"):
        call_command("cut_release", "r-1")


def test_without_a_share_the_command_takes_the_newest_releases_so_that_no_message_moves():
    make_comparison(make_conversation())
    call_command("cut_release", "first")
    call_command("cut_release", "small", "--test-percent", "5")

    call_command("cut_release", "next")

    shares = DatasetRelease.objects.order_by("pk").values_list("test_percent", flat=True)
    assert list(shares) == [20, 5, 5]
