"""Pages run whole on kept threads; what a person does is not undone by their going away."""

import asyncio
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.urls import path

from labelapp.pages import Application, Handler, Pages

SEEN: list[str] = []


def note(request):
    SEEN.append(threading.current_thread().name)
    return HttpResponse(request.body or b"nothing was sent")


note.login_required = False
urlpatterns = [path("note", note)]


def scope(address: str, *, method: str = "GET") -> dict:
    headers = [(b"host", b"127.0.0.1"), (b"cookie", b"csrftoken=" + b"a" * 32)]
    headers += [(b"x-csrftoken", b"a" * 32)]
    return {
        "type": "http", "method": method, "path": address, "root_path": "", "query_string": b"",
        "scheme": "http", "headers": headers, "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip


async def answered(
    application, address: str, *, method: str = "GET", body: bytes = b"", kind: bytes = b""
) -> dict:
    asked = scope(address, method=method)
    if kind:
        asked["headers"] += [(b"content-type", kind), (b"accept", b"application/json")]
        asked["query_string"] = b"a=%41"
    communicator = ApplicationCommunicator(application, asked)
    await communicator.send_input({"type": "http.request", "body": body, "more_body": False})
    start = await communicator.receive_output(timeout=10)
    sent = b""
    more = True
    while more:
        part = await communicator.receive_output(timeout=10)
        sent += part.get("body", b"")
        more = part.get("more_body", False)
    await communicator.wait()
    return {"status": start["status"], "body": sent, "headers": dict(start["headers"])}


@pytest.fixture
def here(settings):
    settings.ROOT_URLCONF = __name__
    SEEN.clear()


@pytest.mark.usefixtures("here")
def test_a_page_runs_whole_on_a_kept_thread():
    pages = Pages(threads=1)

    async def twice():
        return [await answered(pages, "/note"), await answered(pages, "/note")]

    first, second = asyncio.run(twice())

    assert (first["status"], first["body"]) == (second["status"], second["body"])
    assert first["body"] == b"nothing was sent"
    assert SEEN == ["page_0", "page_0"]
    assert first["headers"][b"Cache-Control"] == b"no-store, private"


@pytest.mark.usefixtures("here")
def test_a_form_arrives_with_its_body():
    answer = asyncio.run(answered(Pages(threads=1), "/note", method="POST", body=b"a=1&b=2"))

    assert (answer["status"], answer["body"]) == (200, b"a=1&b=2")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("handler", [Pages, Handler])
@pytest.mark.parametrize(
    "kind",
    [
        b"text/plain; a*=nobody''%41",
        b"text/plain; charset*=utf-8''%00",
        b"text/plain; charset=hex",
        b"text/plain; charset=undefined",
        b"text/plain; charset=utf-16",
    ],
)
def test_a_header_that_cannot_be_read_is_the_clients_error(handler, kind):
    answer = asyncio.run(answered(handler(), "/note", method="POST", body=b"a=1", kind=kind))

    assert answer["status"] == 400
    assert SEEN == []


@pytest.mark.usefixtures("here")
def test_a_person_who_goes_away_changes_nothing_of_what_they_did():
    async def gone():
        communicator = ApplicationCommunicator(Pages(threads=1), scope("/note"))
        await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait()

    asyncio.run(gone())

    assert SEEN == ["page_0"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("handler", [Pages, Handler])
def test_a_body_larger_than_any_form_is_refused_before_it_is_whole(monkeypatch, handler):
    monkeypatch.setattr("labelapp.pages.BODY_BYTES", 1000)

    refused = asyncio.run(answered(handler(), "/note", method="POST", body=b"a" * 1001))
    taken = asyncio.run(answered(handler(), "/note", method="POST", body=b"a" * 1000))

    assert (refused["status"], refused["headers"][b"connection"]) == (413, b"close")
    assert taken["status"] == 200


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("handler", [Pages, Handler])
def test_a_body_that_never_comes_is_not_waited_for(monkeypatch, handler):
    monkeypatch.setattr("labelapp.pages.BODY_SECONDS", 0.1)

    async def silent():
        communicator = ApplicationCommunicator(handler(), scope("/note", method="POST"))
        await communicator.send_input({"type": "http.request", "body": b"a", "more_body": True})
        start = await communicator.receive_output(timeout=10)
        await communicator.receive_output(timeout=10)
        await communicator.wait()
        return start["status"]

    assert asyncio.run(silent()) == 408
    assert SEEN == []


def test_event_streams_are_left_to_the_loop(monkeypatch):
    asked = []

    async def noted(self, scope, receive, send):
        asked.append((type(self), scope["path"]))

    monkeypatch.setattr(ASGIHandler, "__call__", noted)
    application = Application()

    async def both():
        for address in ("/turns/1/events", "/opinions/"):
            await application(scope(address), None, None)

    asyncio.run(both())

    assert asked == [(Handler, "/turns/1/events"), (Pages, "/opinions/")]
