"""Files handed out in pieces: a download that breaks off goes on from where it stopped.

Knows HTTP ranges; knows nothing of who may have the file (its callers decide that first).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

PIECE = 256 * 1024
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")  # no file is longer


def ranged_download(
    request: HttpRequest, path: Path, *, sha256: str, name: str
) -> HttpResponseBase:
    """The file, or the one range asked for; its hash is the ETag, so a resumed part fits."""
    size = path.stat().st_size
    etag = f'"{sha256}"'
    span = _span(request, size=size, etag=etag)
    if span is None:
        refused = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        refused["Content-Range"] = f"bytes */{size}"
        return refused
    start, end = span
    is_part = end - start < size
    body: Iterator[bytes] | AsyncIterator[bytes] = _pieces(path, start=start, end=end)
    if isinstance(request, ASGIRequest):  # a plain iterator would be read whole into memory
        body = _pieces_async(path, start=start, end=end)
    response = StreamingHttpResponse(
        body,
        status=HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK,
        content_type="application/zip",
    )
    response["Content-Length"] = str(end - start)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag
    response["Content-Disposition"] = str(content_disposition_header(True, name))  # noqa: FBT003 -- Django's own
    if is_part:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return response


def _span(request: HttpRequest, *, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and one past the last; None when what is asked for lies outside."""
    asked = RANGE.fullmatch(request.headers.get("Range", ""))
    if not asked or request.headers.get("If-Range", etag) != etag or not any(asked.groups()):
        return 0, size
    first, last = asked.groups()
    if not first:  # the last so many bytes
        return (max(0, size - int(last)), size) if int(last) else None
    start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else None


def _pieces(path: Path, *, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        left = end - start
        while left > 0 and (piece := stream.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


async def _pieces_async(path: Path, *, start: int, end: int) -> AsyncIterator[bytes]:
    pieces = _pieces(path, start=start, end=end)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
