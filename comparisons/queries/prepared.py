"""Questions that are asked at every choice: their SQL is made once, their values go in each time.

Making SQL of a queryset costs Python more than answering it costs the database. Knows querysets; knows
nothing of what is asked. See docs/decisions/0015.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models.query import get_related_populators
from django.db.models.sql import InsertQuery, UpdateQuery

Row = TypeVar("Row", bound=models.Model)
_PUT_IN = "put in each time"
STAND_IN = 1_900_000_000  # for whole numbers: fits 32 bits, or PostgreSQL drops the condition


@dataclass(frozen=True, kw_only=True)
class _Made:
    """The SQL of one question, and what becomes of its columns."""

    sql: str
    places: tuple[tuple[str, int, Any], ...]  # name and place of the value, or "" and a constant
    select: Any
    klass_info: Any
    converters: tuple[tuple[int, list[Any], Any], ...]


class Prepared(Generic[Row]):
    """A queryset built once with stand-ins; lists of another length are another question."""

    def __init__(
        self,
        build: Callable[..., models.QuerySet[Row, Any]],
        *,
        sets: Sequence[str] = (),
        always: Mapping[str, Any] | None = None,
    ) -> None:
        """`build` gets the values by name: whole numbers, texts, UUIDs, times, lists of numbers.

        `sets` names those that are not asked for but written into the columns of these names; `always` is
        written each time, such as the database's own time.
        """
        self._build, self._sets, self._always = build, frozenset(sets), dict(always or {})
        self._made: dict[tuple[Any, ...], _Made] = {}
        self._lock = threading.Lock()

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """The answer to a question that was built with `values_list`."""
        made = self._made_for(values)
        return [self._converted(made, row) for row in self._answer(made, values)]

    def objects(self, **values: Any) -> list[Row]:
        """The answer as model instances, related ones and deferred columns as the queryset says."""
        made = self._made_for(values)
        model, fields = made.klass_info["model"], made.klass_info["select_fields"]
        start, end = fields[0], fields[-1] + 1
        names = [column[0].target.attname for column in made.select[start:end]]
        populators = get_related_populators(made.klass_info, made.select, connection.alias)
        found = []
        for raw in self._answer(made, values):
            row = self._converted(made, raw)
            each = model.from_db(connection.alias, names, row[start:end])
            for populator in populators:
                populator.populate(row, each)
            found.append(each)
        return found

    def update(self, **values: Any) -> int:
        """Write the values of `sets` into the rows that the others find; the number of them."""
        made = self._made_for(values)
        with _cursor() as cursor:
            cursor.execute(made.sql, _sent(made, values))
            return int(cursor.rowcount)

    def _answer(self, made: _Made, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        with _cursor() as cursor:
            cursor.execute(made.sql, _sent(made, values))
            answer: list[Sequence[Any]] = cursor.fetchall()
        return answer

    def _converted(self, made: _Made, row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for place, converters, expression in made.converters:
            for convert in converters:
                values[place] = convert(values[place], expression, connection)
        return tuple(values)

    def _made_for(self, values: dict[str, Any]) -> _Made:
        kind = (connection.vendor, connection.settings_dict["NAME"], *map(_kind, values.values()))
        if kind not in self._made:
            with self._lock:
                self._made[kind] = self._make(values)
        return self._made[kind]

    def _make(self, values: dict[str, Any]) -> _Made:
        stand_ins = {
            name: _stand_in(number, each) for number, (name, each) in enumerate(values.items())
        }
        asked = {name: each for name, each in stand_ins.items() if name not in self._sets}
        query = self._build(**asked).query
        if self._sets:
            query = query.chain(UpdateQuery)
            query.add_update_values({name: stand_ins[name] for name in self._sets} | self._always)
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        known: dict[Any, tuple[str, int]] = {}
        for name, each in stand_ins.items():
            for place, part in enumerate(each if isinstance(each, list) else [each]):
                if _kind(part) is _PUT_IN:
                    known[_adapted(part)] = (name, place)
        places = tuple((*known.get(each, ("", 0)), each) for each in params)
        missing = set(known.values()) - {(name, place) for name, place, _ in places}
        assert not missing, f"the question does not ask for {missing}"
        select = () if self._sets else compiler.select
        found = compiler.get_converters([column[0] for column in select])
        converters = tuple((place, *each) for place, each in found.items())
        return _Made(
            sql=sql,
            places=places,
            select=select,
            klass_info=None if self._sets else compiler.klass_info,
            converters=converters,
        )


class PreparedInsert(Generic[Row]):
    """Stores new rows of one model, as `save(force_insert=True)` of a model that has no parents."""

    def __init__(self, model: type[Row]) -> None:
        """Nothing is asked yet."""
        self._meta = model._meta  # noqa: SLF001 -- public by its documentation
        self._model = model
        self._made: dict[str, str] = {}

    def insert(self, row: Row) -> None:
        """Store the row; it gets the key that the database gave it."""
        fields = [each for each in self._meta.concrete_fields if not each.primary_key]
        sql = self._made.get(connection.vendor) or self._make(row, fields)
        params = [
            each.get_db_prep_save(each.pre_save(row, add=True), connection) for each in fields
        ]
        with _cursor() as cursor:
            cursor.execute(sql, params)
            (row.pk,) = cursor.fetchone()
        row._state.adding, row._state.db = False, connection.alias  # noqa: SLF001 -- as save() does

    def _make(self, row: Row, fields: Sequence[Any]) -> str:
        query = InsertQuery(self._model)
        query.insert_values(fields, [row])
        compiler = query.get_compiler(connection=connection)
        compiler.returning_fields = [self._meta.pk]
        ((sql, params),) = compiler.as_sql()
        assert sql.count("%s") == len(params) == len(fields), (
            "a value for each column, in its order"
        )
        self._made[connection.vendor] = sql
        return str(sql)


@contextmanager
def _cursor() -> Iterator[Any]:
    """On PostgreSQL one that sends values apart, so that the server plans a question only once."""
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            yield cursor
        return
    from django.db.backends.postgresql.base import ServerBindingCursor  # noqa: PLC0415 -- psycopg may be absent

    connection.ensure_connection()
    apart = ServerBindingCursor(connection.connection)
    with connection._prepare_cursor(apart) as cursor:  # noqa: SLF001 -- as connection.cursor() does
        yield cursor


def _sent(made: _Made, values: dict[str, Any]) -> list[Any]:
    return [
        _adapted(values[name][place] if isinstance(values[name], list) else values[name])
        if name
        else constant
        for name, place, constant in made.places
    ]


def _kind(value: Any) -> Any:
    """What of a value the SQL depends on: a list's length, nothing and truth themselves."""
    if isinstance(value, list):
        return len(value)
    return value if value is None or isinstance(value, bool) else _PUT_IN


def _stand_in(number: int, value: Any) -> Any:
    if isinstance(value, list):
        return [STAND_IN + 1000 * number + place for place in range(len(value))]
    if _kind(value) is not _PUT_IN:
        return value
    if isinstance(value, uuid.UUID):
        return uuid.uuid4()
    if isinstance(value, datetime):
        return datetime(2001, 1, 1, microsecond=number + 1, tzinfo=UTC)
    if isinstance(value, str):
        return f"stand-in {number}"
    assert type(value) is int, f"{value!r}: no stand-in for such a value"
    return STAND_IN + 1000 * number


def _adapted(value: Any) -> Any:
    """The value as a column of its kind sends it to this database."""
    if isinstance(value, uuid.UUID):
        return value if connection.features.has_native_uuid_field else value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
