"""Every named crash point of a turn, a choice, a promotion and a registration, each hit once."""

import json
import re
import sqlite3
import subprocess
import sys
import uuid

import pytest

from tests.architecture.sources import APPS, python_files
from tests.faults.patience import patiently, until_ready
from tests.tiny_checkpoints import make_tiny_language_model
from tests.walks.instance import ROOT, RunningProduct
from tests.walks.person import Person

CHAT_POINTS = {
    "choice.before_commit", "choice.after_commit",
    "turn.after_claim", "turn.before_store", "turn.after_store",
}  # fmt: skip
COMMAND_POINTS = {"promotion.after_swap", "promotion.before_commit", "registry.before_rename"}
TRIED_ELSEWHERE = {
    "turn.before_fail",  # tests/comparisons/services: needs a model server that fails
    "run.before_conclude", "run.after_register",  # tests/training/test_process.py
}  # fmt: skip


def test_every_crash_point_is_tried_somewhere():
    called = re.compile(r"\bhit\(\"([a-z_.]+)\"\)")

    named = {name for path in python_files(*APPS) for name in called.findall(path.read_text())}

    assert named == CHAT_POINTS | COMMAND_POINTS | TRIED_ELSEWHERE


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash-points")
    (folder / "spent").mkdir()
    points = ",".join(CHAT_POINTS | COMMAND_POINTS)
    running = RunningProduct(folder / "var", RLHF_FAULTS_SPENT=str(folder / "spent"))
    running.environment["RLHF_FAULTS"] = ""  # the demo itself is made in peace
    subprocess.run(
        [sys.executable, "manage.py", "prepare", "--demo"], cwd=ROOT, check=True,
        env=running.environment, capture_output=True,
    )  # fmt: skip
    running.environment["RLHF_FAULTS"] = points
    running.start()
    yield running
    running.stop()


def _spent(product):
    return {path.name for path in (product.var.parent / "spent").iterdir()}


@pytest.mark.fault
@pytest.mark.timeout(900)
def test_turns_and_choices_survive_every_crash_point(product):
    person = Person(product.base_url)
    person.sign_in("casey", product.password("casey"))
    conversation = person.start("helpful")

    for number in range(1, 4):
        key = uuid.uuid4()
        turn = patiently(lambda k=key, n=number: person.say(conversation, f"Message {n}.", key=k))
        until_ready(person, turn)
        fields = patiently(lambda: person.strip(conversation))
        patiently(
            lambda t=turn, f=fields: person.post(f"/turns/{t}/choice", is_script=True, point=7, **f)
        )

    assert _spent(product) >= CHAT_POINTS
    with sqlite3.connect(f"file:{product.var}/labelapp.sqlite3?mode=ro", uri=True) as database:
        counted = database.execute(
            "SELECT count(*), count(DISTINCT turn_id) FROM comparisons_comparison WHERE origin='crowd'"
        ).fetchone()
    assert counted == (3, 3)
    assert json.loads(product.manage("doctor", "--stored", "--json"))["is_good"]


@pytest.mark.fault
@pytest.mark.timeout(900)
def test_commands_survive_every_crash_point(product, tmp_path):
    make_tiny_language_model(tmp_path / "tiny")
    command = [sys.executable, "-W", "ignore", "manage.py"]

    def until_done(*words):
        for _ in range(4):
            done = subprocess.run(
                [*command, *words], cwd=ROOT, env=product.environment, capture_output=True, text=True,
                timeout=110, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
            assert done.returncode == -9, done.stderr[-2000:]
        raise AssertionError(f"{words} never went through")

    until_done("import_checkpoint", str(tmp_path / "tiny"), "--name", "Tiny")
    until_done("deploy", "Tiny", "--checkpoint", "Tiny", "--max-new-tokens", "8")
    until_done("put_on_trial", "Tiny", "--slot", "red-team", "--traffic", "10")

    assert _spent(product) >= COMMAND_POINTS
    report = json.loads(product.manage("doctor", "--stored", "--json"))
    assert report["is_good"], report
