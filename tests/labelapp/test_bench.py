"""What the bench says must be right: the history's check, the percentiles, the small HTTP client."""

import asyncio

import pytest

from labelapp.bench.history import Event, Findings, History, Stored, check, read_events
from labelapp.bench.measuring import milliseconds, percentile, table
from labelapp.bench.wire import Answer, Browser, NoAnswer

NOTHING = Findings(missing=(), doubled=(), phantom=(), given_twice=())


def events(*triples):
    return [Event(kind=kind, person=person, key=key) for kind, person, key in triples]


def stored(key, *, person="a", item="i1", turn=1):
    return Stored(key=key, person=person, item=item, turn=turn)


def test_what_was_acknowledged_and_is_there_once_is_fine():
    told = events(("given", "a", "i1"), ("invoke", "a", "k1"), ("ok", "a", "k1"))

    assert check(told, [stored("k1")]) == NOTHING
    assert check(told, [stored("k1")]).is_good


def test_an_unanswered_choice_may_be_there_or_not():
    told = events(("given", "a", "i1"), ("given", "a", "i1"), ("invoke", "a", "k1"))

    assert check(told, []) == check(told, [stored("k1")]) == NOTHING


@pytest.mark.parametrize(
    ("told", "rows", "finding"),
    [
        ([("invoke", "a", "k1"), ("ok", "a", "k1")], [], {"missing": ("k1",)}),
        ([], [stored("k1")], {"phantom": ("k1",)}),
        (
            [("invoke", "a", "k1"), ("invoke", "a", "k2")],
            [stored("k1"), stored("k2", item="i2")],
            {"doubled": ("1 by a",)},
        ),
        (
            [("invoke", "a", "k1"), ("invoke", "b", "k2")],
            [stored("k1"), stored("k2", person="b")],
            {"given_twice": ("i1",)},
        ),
        ([("given", "a", "i1"), ("given", "b", "i1")], [], {"given_twice": ("i1",)}),
    ],
)
def test_every_broken_promise_is_found(told, rows, finding):
    expected = {"missing": (), "doubled": (), "phantom": (), "given_twice": (), **finding}

    found = check(events(*told), rows)

    assert found == Findings(**expected)
    assert not found.is_good


def test_a_history_is_read_as_it_was_written(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.note("invoke", person="a", key="k1")
    history.note("ok", person="a", key="k1")
    history.close()

    read = [(event.kind, event.person, event.key) for event in read_events(history.path)]

    assert read == [("invoke", "a", "k1"), ("ok", "a", "k1")]


def test_percentiles_are_of_the_nearest_rank():
    values = [each / 1000 for each in range(100, 0, -1)]

    assert milliseconds(values) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 50) == 0.0


def test_the_table_has_a_line_for_each_part():
    row = {
        "database": "sqlite", "clients": 32, "choices_per_second": 201.25,
        "submit_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        "next_item_ms": {"p50": 4.0, "p95": 5.0, "p99": 6.0}, "given_twice": 0, "missing": 7,
    }  # fmt: skip

    head, line = table([row]).splitlines()

    assert line.split() == [
        "sqlite",
        "32",
        "201.2",
        "1.0",
        "2.0",
        "3.0",
        "4.0",
        "5.0",
        "6.0",
        "0",
        "7",
    ]
    assert len(head) == len(line)


async def served(*answers: bytes, ask):
    """`ask` with a browser whose server gives these answers, one a request; and what was asked."""
    waiting, asked, connections = list(answers), [], []

    async def serve(reader, writer):
        connections.append(writer)
        while waiting:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
            asked.append(head + await reader.readexactly(int(length or 0)))
            answer = waiting.pop(0)
            writer.write(answer)
            if answer in {b"", CLOSING}:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        browser = Browser(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        try:
            return await ask(browser), asked, len(connections)
        finally:
            await browser.close()


def ok(body: bytes, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CLOSING = ok(b"last", b"connection: close")


def test_cookies_and_the_token_come_back_over_one_kept_connection():
    first = ok(b"page", b"set-cookie: csrftoken=abc; Path=/", b"set-cookie: sessionid=xyz")

    async def ask(browser):
        await browser.get("/")
        return await browser.post("/choice", {"point": 3, "text": "ä&b"}, is_script=True)

    answer, asked, connections = asyncio.run(served(first, ok(b"{}"), ask=ask))

    assert answer == Answer(status=200, body=b"{}")
    assert connections == 1
    assert b"Cookie: csrftoken=abc; sessionid=xyz\r\n" in asked[1]
    assert b"X-CSRFToken: abc\r\n" in asked[1]
    assert asked[1].endswith(b"\r\n\r\npoint=3&text=%C3%A4%26b")


def test_a_connection_that_was_closed_meanwhile_is_opened_again():
    async def ask(browser):
        await browser.get("/")
        return await browser.get("/again")

    answer, asked, connections = asyncio.run(served(CLOSING, ok(b"again"), ask=ask))

    assert (answer.body, len(asked), connections) == (b"again", 2, 2)


def test_no_answer_is_said_and_not_asked_twice_of_a_new_connection():
    async def ask(browser):
        with pytest.raises(NoAnswer):
            await browser.get("/")

    _, asked, connections = asyncio.run(served(b"", ask=ask))

    assert (len(asked), connections) == (1, 1)


def test_a_redirect_is_followed_and_chunks_are_put_together():
    redirect = b"HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n"
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )

    async def ask(browser):
        return await browser.follow(await browser.post("/", {}))

    answer, asked, _ = asyncio.run(served(redirect, chunked, ask=ask))

    assert answer.body == b"abcde"
    assert asked[1].startswith(b"GET /next HTTP/1.1")


def test_the_lines_of_a_stream_come_one_by_one():
    stream = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"9\r\nevent: a\n\r\n4\r\ndata\r\n2\r\n: \r\n2\r\n1\n\r\n0\r\n\r\n"
    )

    async def ask(browser):
        return [line async for line in browser.lines("/turns/1/events")]

    lines, _, _ = asyncio.run(served(stream, ask=ask))

    assert lines == [b"event: a", b"data: 1"]
