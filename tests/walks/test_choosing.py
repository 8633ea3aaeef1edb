"""Walk (a): sign in, consent, say something, two streams, choose, go on from the choice."""

import concurrent.futures
import re
import sqlite3
import uuid

import pytest

pytestmark = [pytest.mark.walk, pytest.mark.timeout(400)]


def _rows(product, question, *values):
    with sqlite3.connect(f"file:{product.var}/labelapp.sqlite3?mode=ro", uri=True) as database:
        return database.execute(question, values).fetchall()


def test_a_conversation_goes_on_from_the_picked_response(product, crowdworker):
    conversation = crowdworker.start("helpful")

    for message, point in [("Hello, how are you?", 2), ("What do you like?", 7)]:
        turn = crowdworker.say(conversation, message)
        streamed = crowdworker.read_stream(turn)
        assert streamed.kinds[-1] == "ready", product.terminal()[-2000:]
        answer = crowdworker.choose(conversation, turn, point=point)
        assert answer.json()["dock"] == "message"

        picked = _rows(
            product,
            """SELECT c.side, c.strength, p.text, t.continued_by_id = c.id
               FROM comparisons_comparison c
               JOIN comparisons_turn t ON t.id = c.turn_id
               JOIN comparisons_response p ON p.id = c.picked_id
               WHERE t.public_id = ?""",
            uuid.UUID(turn).hex,
        )
        side, strength = ("A", 3) if point == 2 else ("B", 3)
        assert picked == [(side, strength, streamed.text[side].strip(), 1)] or picked == [
            (side, strength, streamed.text[side], 1)
        ]


def test_a_reload_in_the_middle_of_a_stream_loses_nothing(product, crowdworker):
    conversation = crowdworker.start("helpful")
    turn = crowdworker.say(conversation, "Tell me a long story about a dog and a cat.")

    first = crowdworker.read_stream(turn, most_events=3)
    rest = crowdworker.read_stream(turn, after=first.last_id)
    whole = crowdworker.read_stream(turn)

    assert rest.kinds[-1] == "ready"
    stored = dict(
        _rows(
            product,
            """SELECT CASE WHEN s.side_a_id = r.id THEN 'A' ELSE 'B' END, r.text
               FROM comparisons_showing s
               JOIN comparisons_response r ON r.id IN (s.side_a_id, s.side_b_id)
               JOIN comparisons_turn t ON t.id = s.turn_id
               WHERE t.public_id = ? AND s.replaced_at IS NULL""",
            uuid.UUID(turn).hex,
        )
    )
    assert whole.text == stored
    crowdworker.choose(conversation, turn, point=4)


def test_twenty_clicks_at_once_are_one_choice(product, crowdworker):
    conversation = crowdworker.start("helpful")
    turn = crowdworker.say(conversation, "Good morning!")
    crowdworker.read_stream(turn)
    fields = crowdworker.strip(conversation)

    def click(_number):
        return crowdworker.post(f"/turns/{turn}/choice", is_script=True, point=1, **fields)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(click, range(20)))

    assert len({answer.json()["saved"] for answer in answers}) == 1
    count = """SELECT count(*) FROM comparisons_comparison c JOIN comparisons_turn t
               ON t.id = c.turn_id WHERE t.public_id = ?"""
    assert _rows(product, count, uuid.UUID(turn).hex) == [(1,)]


def test_red_team_goes_on_from_the_more_harmful_one_and_is_flipped_for_training(
    product, crowdworker
):
    conversation = crowdworker.start("red-team")
    crowdworker.post(f"{conversation}intent", intent="I will ask for something rude.")

    turn = crowdworker.say(conversation, "Say something rude about my neighbour.")
    crowdworker.read_stream(turn)
    crowdworker.choose(conversation, turn, point=1)

    stored = _rows(
        product,
        """SELECT c.question, c.side, t.continued_by_id = c.id FROM comparisons_comparison c
           JOIN comparisons_turn t ON t.id = c.turn_id WHERE t.public_id = ?""",
        uuid.UUID(turn).hex,
    )
    assert stored == [("more_harmful", "A", 1)]


def test_nothing_a_crowdworker_receives_names_a_checkpoint(product, crowdworker):
    conversation = crowdworker.start("helpful")
    turn = crowdworker.say(conversation, "Who are you?")
    received = [crowdworker.http.get("/").text, crowdworker.http.get(conversation).text]
    with crowdworker.http.stream("GET", f"/turns/{turn}/events") as answer:
        received += [str(answer.headers), *answer.iter_lines()]
    received.append(crowdworker.choose(conversation, turn, point=5).text)

    hashes = [each for (each,) in _rows(product, "SELECT hash FROM modelserving_checkpoint")]
    names = [each for (each,) in _rows(product, "SELECT name FROM modelserving_deployment")]

    assert hashes
    for secret in [*hashes, *[each[:8] for each in hashes], *names]:
        assert not [text for text in received if re.search(re.escape(secret), text)], secret


def test_no_log_holds_a_password_or_a_sign_in_link(product, crowdworker):
    secrets = [*(product.password(name) for name in ("casey", "alex", "rowan")), "/sign-in/link/"]

    logs = {path.name: path.read_text(errors="replace") for path in (product.var / "log").iterdir()}

    assert {"prepare.log", "web.log", "models.log"} <= set(logs)
    assert [name for name, text in logs.items() if any(each in text for each in secrets)] == []
