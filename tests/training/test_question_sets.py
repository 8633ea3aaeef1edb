"""Question sets have names; an evaluation run is given one by it, from the form, the command line and again.

Knows rows and files; no process is started here.
"""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from modelserving.core.artifacts import content_hash, read_manifest
from tests.training.making import make_release, signed_in, text_of, write_starter
from tests.training.test_run_again import fields_of
from training import run_files
from training.models import TrainingRun
from training.services import RunRefused, RunRequest, start_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


def test_a_question_set_is_chosen_kept_and_given_to_the_run(settings, tmp_path):
    source = tmp_path / "hhh.jsonl"
    source.write_text('{"prompt": "Tea?", "chosen": "Green.", "rejected": "No."}\n')
    call_command("import_questions", str(source), name="hhh")
    client = signed_in()
    release = make_release()
    page = client.get(reverse("new_run") + "?kind=evaluation")
    client.post(reverse("new_run"), fields_of(text_of(page)) | {"questions": "hhh"})

    run = TrainingRun.objects.get()
    inputs = json.loads((run_files.prepare(run) / "inputs.json").read_text())

    assert (run.questions, run.release) == ("hhh", release)
    published = read_manifest(Path(settings.ARTEFACTS) / "questions" / "hhh")
    assert inputs["questions"]["sha256"] == content_hash(published)
    again = fields_of(
        text_of(client.get(reverse("new_run") + f"?kind=evaluation&from={run.public_id}"))
    )
    assert again["questions"] == "hhh"


@pytest.mark.parametrize(("file", "name", "says"), [
    ("source.jsonl", "../hhh", "cannot name a question set"),
    ("none.jsonl", "hhh", "No such file"),
    ("broken.jsonl", "hhh", "broken.jsonl line 1 is not valid JSON"),
])  # fmt: skip
def test_a_question_set_that_cannot_be_taken_in_is_refused(tmp_path, file, name, says):
    (tmp_path / "source.jsonl").write_text('{"prompt": "Tea?", "chosen": "a", "rejected": "b"}\n')
    (tmp_path / "broken.jsonl").write_text("{\n")

    with pytest.raises(CommandError, match=says):
        call_command("import_questions", str(tmp_path / file), name=name)


@pytest.mark.parametrize(("kind", "says"), [
    ("evaluation", "No question set is called 'hhh'"),
    ("preference_model", "answers no questions"),
])  # fmt: skip
def test_a_question_set_that_is_not_there_or_of_no_use_is_refused(kind, says):
    with pytest.raises(RunRefused, match=says):
        start_run(RunRequest(kind=kind, release=make_release(), questions="hhh"), requested_by=None)
