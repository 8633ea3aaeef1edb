"""SIGKILL to each process in the middle of a turn: it comes back, nothing is lost or doubled."""

import json
import os
import signal
import sqlite3
import time
import uuid

import pytest

from tests.faults.patience import PATIENCE, patiently, until_ready
from tests.walks.instance import RunningProduct, every_process
from tests.walks.person import Person

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

COUNT = """SELECT count(*), count(DISTINCT choice_key) FROM comparisons_comparison
           WHERE origin = 'crowd'"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    running = RunningProduct(tmp_path_factory.mktemp("faults") / "var")
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


def _rows(product, question):
    with sqlite3.connect(f"file:{product.var}/labelapp.sqlite3?mode=ro", uri=True) as database:
        return database.execute(question).fetchone()


def _turn_with_a_death(product, person, conversation, *, text, victim):
    key = uuid.uuid4()
    turn = patiently(lambda: person.say(conversation, text, key=key))
    os.kill(product.processes()[victim], signal.SIGKILL)
    assert patiently(lambda: person.say(conversation, text, key=key)) == turn
    until_ready(person, turn)
    fields = patiently(lambda: person.strip(conversation))

    def choose():
        return person.post(f"/turns/{turn}/choice", is_script=True, point=2, **fields)

    assert patiently(choose).json()["saved"] == patiently(choose).json()["saved"]


def test_each_process_comes_back_and_nothing_is_lost_or_doubled(product):
    person = Person(product.base_url)
    person.sign_in("casey", product.password("casey"))
    conversation = person.start("helpful")
    victims = ["generation", "models", "web", "redis", "default", "beat", "training"]

    for number, victim in enumerate(victims, 1):
        _turn_with_a_death(product, person, conversation, text=f"Message {number}.", victim=victim)
        assert _rows(product, COUNT) == (number, number), victim

    deadline = time.monotonic() + PATIENCE
    while set(product.processes()) < set(victims) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert set(victims) <= set(product.processes())
    report = json.loads(product.manage("doctor", "--stored", "--json"))
    assert report["is_good"], report


def test_killed_supervisor_leaves_no_process_and_the_next_start_goes_on(product):
    children = set(product.processes().values())

    product.process.kill()
    product.process.wait()
    time.sleep(2)

    assert not children & {pid for pid, _, _ in every_process()}
    product.start()
    assert product.stop() == 0
    assert not [each for each in every_process() if str(product.var) in each[2]]
