"""How the REST API reads a body: JSON, of any shape a client may think of.

Knows no field and no view.
"""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from comparisons.formats.pairs import LineError, checked_text


class ShallowJSONParser(JSONParser):
    """JSON that is not nested deeper than Python can read, its texts such as every database stores."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value; a body that cannot be read or stored is the client's error, not ours."""
        try:
            value = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The body is nested too deeply: send a flat object.") from None
        try:
            for text in _texts(value):
                checked_text(text, where="The body")
        except LineError as refusal:
            raise ParseError(f"{refusal}: take it out.") from None
        return value


def _texts(value: Any) -> Iterator[str]:
    """Every text inside, the names of fields too."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
