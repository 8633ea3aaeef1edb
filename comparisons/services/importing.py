"""Bring comparisons in from files: line by line, told what was left out, harmless to repeat.

Knows parsed pairs and the database; the file formats are read in `formats`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import OuterRef, Subquery
from django.utils.timezone import now

from comparisons.core.splits import first_message_sha256
from comparisons.core.transcript import chosen_and_rejected
from comparisons.formats import hh
from comparisons.formats.lines import record_of_line
from comparisons.formats.pairs import LineError, Pair
from comparisons.formats.readers import READERS, advice_for
from comparisons.models import Comparison, Conversation, Response, Showing, Turn
from comparisons.models.campaign import Objective, Origin, Question, Tranche
from comparisons.queries.imports import already_elsewhere, newest_comparison
from comparisons.services import audit

BATCH = 500
STORED = (Conversation, Turn, Response, Showing, Comparison)
USUAL_QUESTION = {
    Objective.HELPFUL: Question.MORE_HELPFUL,
    Objective.HARMLESS: Question.LESS_HARMFUL,  # files in training order are never flipped
}


class ImportRefused(ValueError):
    """The import cannot begin; the message says which value to change."""


@dataclass(kw_only=True)
class ImportReport:
    """What became of every line."""

    lines: int = 0
    imported: int = 0
    already_there: int = 0
    already_elsewhere: int = 0  # imported, though the same pair was here
    same_text: list[int] = field(default_factory=list)  # line numbers, left out
    odd: list[int] = field(default_factory=list)  # line numbers, imported
    empty_reply: list[int] = field(default_factory=list)  # line numbers, imported
    bad: list[tuple[int, str]] = field(default_factory=list)  # line number, reason
    advice: str = ""  # where no line could be read, what the file seems to be

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON writes it."""
        return {
            "lines": self.lines,
            "imported": self.imported,
            "already_there": self.already_there,
            "already_elsewhere": self.already_elsewhere,
            "same_text": self.same_text,
            "odd": self.odd,
            "empty_reply": self.empty_reply,
            "bad": [{"line": number, "reason": reason} for number, reason in self.bad],
        }


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One pair that may be imported, with the key that makes a second import a no-op."""

    pair: Pair
    import_key: str


def import_hh(
    lines: Iterable[bytes | str], *, objective: str, tranche: str, source: str = ""
) -> ImportReport:
    """Import the public HH format: lines of `chosen` and `rejected`, already in training order."""
    return import_lines(
        enumerate(lines, 1), reader="hh", objective=objective, tranche=tranche, source=source
    )


def import_lines(
    numbered: Iterable[tuple[int, bytes | str]],
    *,
    reader: str,
    objective: str,
    tranche: str,
    source: str = "",
    on_progress: Callable[[ImportReport], None] | None = None,
) -> ImportReport:
    """Import every good line; a bad one is noted with its number and never stops the rest."""
    if reader not in READERS:
        raise ImportRefused(f"format {reader!r}: one of {', '.join(READERS)}")
    if objective not in Objective.values:
        raise ImportRefused(f"objective {objective!r}: one of {', '.join(Objective.values)}")
    if tranche not in Tranche.values:
        raise ImportRefused(f"tranche {tranche!r}: one of {', '.join(Tranche.values)}")
    report = ImportReport()
    entries = _entries(
        numbered, read=READERS[reader], objective=objective, tranche=tranche, report=report
    )
    newest = newest_comparison()
    try:
        while batch := list(islice(entries, BATCH)):
            _import_batch(batch, source=source, newest=newest, report=report)
            if on_progress:
                on_progress(report)
    finally:  # also of a file that breaks off, for what stood before is kept
        _write_down(report, source=source)
    if report.imported:
        _refresh_statistics()
    return report


def _entries(
    numbered: Iterable[tuple[int, bytes | str]],
    *,
    read: Callable[[Mapping[str, Any]], Pair],
    objective: str,
    tranche: str,
    report: ImportReport,
) -> Iterator[_Entry]:
    for number, line in numbered:
        report.lines += 1
        try:
            pair = read(record_of_line(line))
        except LineError as refusal:
            report.bad.append((number, str(refusal)))
            if report.lines == 1:
                report.advice = advice_for(line)
            continue
        report.advice = ""
        if pair.is_same_text:
            report.same_text.append(number)
            continue
        if pair.is_odd:
            report.odd.append(number)
        if pair.has_empty_reply:
            report.empty_reply.append(number)
        pair = replace(pair, objective=pair.objective or objective, tranche=pair.tranche or tranche)
        pair = replace(pair, question=pair.question or USUAL_QUESTION[Objective(pair.objective)])
        yield _Entry(pair=pair, import_key=import_key(pair))


def import_key(pair: Pair) -> str:
    """What makes two lines the same: where it was made when told, else all that is trained on."""
    if pair.comparison:
        return sha256(f"comparison:{pair.comparison}".encode()).hexdigest()
    chosen, rejected = chosen_and_rejected(
        question=pair.question, picked=pair.picked, other=pair.other
    )
    identity = [pair.objective, pair.tranche, hh.render(pair.messages), chosen, rejected]
    return sha256(json.dumps(identity, ensure_ascii=False).encode()).hexdigest()


def _import_batch(batch: list[_Entry], *, source: str, newest: int, report: ImportReport) -> None:
    """Store what is new; when another import was quicker with one of them, look again once."""
    for is_last_try in (False, True):
        fresh = _without_known(batch)
        elsewhere = already_elsewhere([entry.pair for entry in fresh.values()], up_to=newest)
        try:
            with transaction.atomic():
                _store(list(fresh.values()), source=source)
        except IntegrityError:
            if is_last_try:
                raise
            continue
        report.imported += len(fresh)
        report.already_there += len(batch) - len(fresh)
        report.already_elsewhere += elsewhere
        return


def _without_known(batch: list[_Entry]) -> dict[str, _Entry]:
    fresh = {entry.import_key: entry for entry in batch}
    known = Comparison.objects.filter(import_key__in=fresh).values_list("import_key", flat=True)
    for key in known:
        fresh.pop(str(key))
    own = {e.pair.comparison: key for key, e in fresh.items() if e.pair.comparison}
    ours = Comparison.objects.filter(public_id__in=own).values_list("public_id", flat=True)
    for public_id in ours:
        fresh.pop(own[str(public_id)])
    return fresh


def _store(entries: list[_Entry], *, source: str) -> None:
    """One conversation, turn, two responses, showing and comparison for each pair."""
    at = now()
    conversations = Conversation.objects.bulk_create(
        [_conversation(entry.pair, at=at) for entry in entries]
    )
    turns = Turn.objects.bulk_create(
        [_turn(e.pair, conversation=c) for e, c in zip(entries, conversations, strict=True)]
    )
    picked = Response.objects.bulk_create(
        [
            _response(turn, text=e.pair.picked, finish_reason=e.pair.finish_reasons[0], at=at)
            for e, turn in zip(entries, turns, strict=True)
        ]
    )
    other = Response.objects.bulk_create(
        [
            _response(turn, text=e.pair.other, finish_reason=e.pair.finish_reasons[1], at=at)
            for e, turn in zip(entries, turns, strict=True)
        ]
    )
    showings = Showing.objects.bulk_create(
        [
            Showing(turn=turn, purpose=Showing.Purpose.IMPORTED, side_a=one, side_b=two)
            for turn, one, two in zip(turns, picked, other, strict=True)
        ]
    )
    Comparison.objects.bulk_create(
        [
            _comparison(entry, showing=showing, source=source)
            for entry, showing in zip(entries, showings, strict=True)
        ]
    )
    # the one comparison of an imported turn also carries its dialogue on
    own = Comparison.objects.filter(turn=OuterRef("pk")).values("pk")[:1]
    Turn.objects.filter(pk__in=[turn.pk for turn in turns]).update(continued_by=Subquery(own))


def _write_down(report: ImportReport, *, source: str) -> None:
    if report.imported:
        counts = {"imported": report.imported, "already_elsewhere": report.already_elsewhere}
        audit.record(
            actor=None, action="comparisons.import", object_type="import",
            object_id=source[:64], detail={"source": source[:200], **counts},
        )  # fmt: skip


def _refresh_statistics() -> None:
    """Run ANALYZE: until autovacuum does, PostgreSQL plans as if the tables were still empty."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for model in STORED:
            table = model._meta.db_table  # noqa: SLF001 -- public by its documentation
            cursor.execute(f"ANALYZE {connection.ops.quote_name(table)}")


def _origin(pair: Pair) -> Origin:
    return Origin.SIMULATED if pair.is_simulated else Origin.IMPORTED


def _conversation(pair: Pair, *, at: datetime) -> Conversation:
    return Conversation(
        state=Conversation.State.FINISHED,
        objective=pair.objective,
        origin=_origin(pair),
        opening=pair.messages[:-1],
        first_message_sha256=first_message_sha256(pair.messages[0]["content"]),
        finished_at=at,
    )


def _turn(pair: Pair, *, conversation: Conversation) -> Turn:
    message = pair.messages[-1]["content"]
    return Turn(
        conversation=conversation,
        index=sum(each["role"] == "user" for each in pair.messages[:-1]),
        message=message,
        message_sha256=sha256(message.encode()).hexdigest(),
        state=Turn.State.CHOSEN,
    )


def _response(turn: Turn, *, text: str, finish_reason: str, at: datetime) -> Response:
    return Response(
        turn=turn,
        state=Response.State.READY,
        text=text,
        text_sha256=sha256(text.encode()).hexdigest(),
        finish_reason=finish_reason,
        completed_at=at,
    )


def _comparison(entry: _Entry, *, showing: Showing, source: str) -> Comparison:
    pair = entry.pair
    return Comparison(
        showing=showing,
        turn=showing.turn,
        picked=showing.side_a,
        other=showing.side_b,
        strength=pair.strength,
        question=pair.question,
        objective=pair.objective,
        tranche=pair.tranche,
        origin=_origin(pair),
        import_key=entry.import_key,
        import_source=source[:200],
    )
