"""Exports: they load with the usual library, come back through the importer, and name nobody."""

import csv
import gzip
import json
import zipfile

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from comparisons.formats.csv import safe_cell
from comparisons.models import Comparison, ReleaseExport
from comparisons.services.exporting import (
    ENDINGS,
    ExportRefused,
    downloadable_file,
    export_release,
    file_of,
    pseudonym,
    request_export,
    take_up_waiting,
    write_export,
)
from comparisons.services.importing import import_lines
from comparisons.services.releasing import cut_release
from modelserving.core.artifacts import file_sha256
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def release():
    """Two helpful turns of one person, one red-team turn of another, hostile texts inside."""
    person = make_crowdworker(pseudonym="kx-1")
    conversation = make_conversation(crowdworker=person, comment="canary comment")
    make_comparison(conversation, message="Tea?\n", picked=" Yes  \U0001f375", other="No")
    make_comparison(
        conversation, message="=1+1", picked="+cmd|' /C calc'!A0", other="\tx",
        reason_text="canary reason",
    )  # fmt: skip
    red_team = make_campaign(objective="harmless")
    make_comparison(
        make_conversation(campaign=red_team, first="Red"), message="Red", picked="worse",
        other="better",
    )  # fmt: skip
    return cut_release("r-1", test_percent=30)


def lines_of(directory, split: str = "train") -> list[dict]:
    path = directory / f"{split}.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.mark.parametrize("format_name", sorted(ENDINGS))
def test_a_split_without_rows_is_no_file_and_the_other_loads_with_datasets(
    release, format_name, tmp_path
):
    from datasets import load_dataset

    whole = cut_release("all-train", filters=None, test_percent=0)

    (path,) = write_export(whole, format_name, directory=tmp_path / "out")

    kind = {"parquet": "parquet", "csv": "csv"}.get(format_name, "json")
    loaded = load_dataset(kind, data_files={"train": str(path)}, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == whole.counts["train"] > 0


@pytest.mark.parametrize("format_name", sorted(ENDINGS))
def test_every_format_loads_with_datasets(release, format_name, tmp_path):
    from datasets import load_dataset

    write_export(release, format_name, directory=tmp_path / "out")

    kind = {"parquet": "parquet", "csv": "csv"}.get(format_name, "json")
    counts = {}
    for split in ("train", "test"):
        if not release.counts[split]:
            continue
        loaded = load_dataset(
            kind, data_files={split: str(tmp_path / "out" / f"{split}.{ENDINGS[format_name]}")},
            cache_dir=str(tmp_path / "cache"),
        )[split]  # fmt: skip
        counts[split] = len(loaded)
        expected = {
            "hh": {"chosen", "rejected"},
            "trl": {"prompt", "chosen", "rejected"},
        }.get(format_name)
        if expected:
            assert set(loaded.column_names) == expected
    assert sum(counts.values()) == 3


def test_hh_and_trl_are_in_training_order_and_flip_red_team_only(release, tmp_path):
    write_export(release, "hh", directory=tmp_path / "hh")
    write_export(release, "trl", directory=tmp_path / "trl")

    hh_rows = lines_of(tmp_path / "hh") + lines_of(tmp_path / "hh", "test")
    trl_rows = lines_of(tmp_path / "trl") + lines_of(tmp_path / "trl", "test")
    assert {
        "chosen": "\n\nHuman: Red\n\nAssistant: better",
        "rejected": "\n\nHuman: Red\n\nAssistant: worse",
    } in hh_rows
    assert {
        "prompt": [{"role": "user", "content": "Tea?\n"}],
        "chosen": [{"role": "assistant", "content": " Yes  \U0001f375"}],
        "rejected": [{"role": "assistant", "content": "No"}],
    } in trl_rows


@pytest.mark.parametrize("format_name", ["hh", "trl", "rich"])
def test_what_is_exported_comes_back_through_the_importer(release, format_name, tmp_path):
    directory = tmp_path / "first"
    write_export(release, format_name, directory=directory)
    exported = lines_of(directory) + lines_of(directory, "test")
    Comparison.objects.update(superseded_at=now())  # what is here already stays out
    for row in exported:  # as if another installation had made them
        if "comparison" in row:
            row["comparison"] = row["comparison"].replace(row["comparison"][:8], "0" * 8)

    reports = [
        import_lines(
            [(1, json.dumps(row, ensure_ascii=False))], reader=format_name,
            objective="harmless" if "Red" in json.dumps(row) else "helpful", tranche="base",
        )
        for row in exported
    ]  # fmt: skip
    again = cut_release("r-2", test_percent=30)
    write_export(again, format_name, directory=tmp_path / "second")

    assert [report.imported for report in reports] == [1, 1, 1]
    returned = lines_of(tmp_path / "second") + lines_of(tmp_path / "second", "test")
    forget = ("comparison", "conversation", "crowdworker", "origin", "tranche")
    for row in exported + returned:
        for key in forget:
            row.pop(key, None)
    assert sorted(map(str, returned)) == sorted(map(str, exported))


def test_no_export_names_a_person(release, tmp_path):
    for format_name in ENDINGS:
        write_export(release, format_name, directory=tmp_path / format_name)

    people = Comparison.objects.exclude(crowdworker=None).select_related("crowdworker__account")
    forbidden = {"canary", "kx-"}
    for comparison in people:
        account = comparison.crowdworker.account
        forbidden |= {account.username, account.email, str(account.public_id)}
        forbidden |= {comparison.crowdworker.external_id_hash}
        forbidden |= {str(comparison.crowdworker.public_id)}
    said = b"".join(
        gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()
        for p in tmp_path.rglob("t*.*")
        if p.is_file()
    ).decode("utf-8", "replace")
    assert "Tea?" in said
    assert not [word for word in forbidden if word in said]


def test_pseudonyms_hold_within_a_release_only(release, tmp_path):
    write_export(release, "rich", directory=tmp_path)
    rows = lines_of(tmp_path) + lines_of(tmp_path, "test")
    person = {}
    for row in rows:
        person.setdefault(row["conversation"], set()).add(row["crowdworker"])

    assert all(len(names) == 1 for names in person.values())
    assert len(set.union(*person.values())) == 2
    other = cut_release("r-2", filters=None, test_percent=0)
    assert pseudonym("x", release=release) != pseudonym("x", release=other)


def test_a_spreadsheet_runs_no_cell(release, tmp_path):
    write_export(release, "csv", directory=tmp_path)

    cells = []
    for path in tmp_path.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            cells += [cell for row in csv.reader(stream) for cell in row]
    assert [cell for cell in cells if cell.startswith("Human:")]
    assert "'+cmd|' /C calc'!A0" in cells
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n")]
    assert safe_cell(" =1") == "' =1"
    assert safe_cell(-3) == -3
    assert safe_cell("a=1") == "a=1"


def test_an_export_is_one_file_with_its_hash_and_the_same_again(release):
    first = export_release(release, "hh")
    path = file_of(first)
    digest = file_sha256(path)
    path.unlink()
    ReleaseExport.objects.update(state=ReleaseExport.State.QUEUED)
    take_up_waiting()

    first.refresh_from_db()
    assert first.state == ReleaseExport.State.DONE
    assert first.sha256 == digest == file_sha256(path)
    assert (first.rows_done, first.rows_total, first.size) == (3, 3, path.stat().st_size)
    assert first.file_name == "r-1-hh.zip"
    with zipfile.ZipFile(path) as archive:
        splits = [split for split in ("train", "test") if release.counts[split]]
        assert archive.namelist() == [f"{split}.jsonl.gz" for split in splits]
    assert export_release(release, "hh").pk == first.pk


def test_an_export_whose_file_is_gone_is_made_when_it_is_asked_for_again(release):
    export = export_release(release, "hh")
    file_of(export).unlink()

    assert request_export(release, "hh").state == ReleaseExport.State.QUEUED
    take_up_waiting()

    export.refresh_from_db()
    assert export.state == ReleaseExport.State.DONE
    assert file_sha256(file_of(export)) == export.sha256


def test_a_download_whose_file_is_gone_has_it_made_again(release):
    export = export_release(release, "hh")
    file_of(export).unlink()
    reader = make_account("researcher")

    with pytest.raises(ExportRefused, match="is gone: it is being made again"):
        downloadable_file(export, actor=reader)
    take_up_waiting()

    export.refresh_from_db()
    assert downloadable_file(export, actor=reader) == file_of(export)


def test_an_export_that_is_there_is_not_made_again(release):
    export = export_release(release, "hh")

    assert request_export(release, "hh").state == ReleaseExport.State.DONE
    assert ReleaseExport.objects.get().finished_at == export.finished_at


def test_what_cannot_be_exported_says_why(release, tmp_path):
    with pytest.raises(ExportRefused, match="xml"):
        write_export(release, "xml", directory=tmp_path)
    release.stale_at = now()
    with pytest.raises(ExportRefused, match="taken out"):
        write_export(release, "hh", directory=tmp_path)
    with pytest.raises(CommandError, match="no release"):
        call_command("export_release", "nowhere", "--to", str(tmp_path))


def test_a_damaged_release_fails_the_export_in_words(release, settings):
    path = settings.ARTEFACTS / "releases" / "r-1" / "train.jsonl.gz"
    path.write_bytes(b"")

    with pytest.raises(ExportRefused, match="bytes"):
        export_release(release, "hh")

    export = ReleaseExport.objects.get()
    assert export.state == ReleaseExport.State.FAILED
    assert "bytes" in export.failure


def test_command_writes_files_with_their_hashes(release, tmp_path, capsys):
    call_command("export_release", "r-1", "--format", "trl", "--to", str(tmp_path / "out"))

    said = capsys.readouterr().out
    assert file_sha256(tmp_path / "out" / "train.jsonl.gz") in said


def test_an_export_never_replaces_another(release, tmp_path):
    hh, _ = write_export(release, "hh", directory=tmp_path)
    before = hh.read_bytes()

    write_export(release, "hh", directory=tmp_path)  # the same bytes again change nothing
    with pytest.raises(CommandError, match=r"train\.jsonl\.gz holds another export"):
        call_command("export_release", "r-1", "--format", "trl", "--to", str(tmp_path))

    assert hh.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
