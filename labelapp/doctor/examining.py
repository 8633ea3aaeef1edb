"""Run the checks in order and gather what they find.

Knows the list; a check that cannot look is itself a finding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import DatabaseError

from labelapp.doctor import artefacts, database, dialogues, serving
from labelapp.doctor.findings import Check, Finding, Severity

STORED = (*database.CHECKS, *dialogues.CHECKS, *artefacts.CHECKS, *serving.CHECKS)
RUNNING = serving.RUNNING_CHECKS


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one check found."""

    check: Check
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """No error among the findings."""
        return all(finding.severity != Severity.ERROR for finding in self.findings)


def examine(*, is_stored_only: bool = False) -> Iterator[Result]:
    """Every check's result, as it comes."""
    for check in STORED if is_stored_only else (*STORED, *RUNNING):
        try:
            findings = tuple(check.look())
        except (DatabaseError, OSError) as failed:
            findings = (Finding(what=f"could not look: {failed}", cure="mend this first"),)
        yield Result(check=check, findings=findings)
