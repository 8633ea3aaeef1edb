"""The end of the console walk: history against database, doctor, consoles, and a table of the kills.

Knows what the walk gathered; does nothing to the product.
"""

from typing import Any

from tests.walks import console_record as record


def examine_everything(walk: Any) -> None:
    """Each look adds its lines to the transcript and its faults to the walk's problems."""
    walk.transcript.heading("Afterwards")
    _compare(walk)
    _ask_doctor(walk)
    _read_consoles(walk)
    if walk.has_kills:
        _list_deaths(walk)
    _last_pages(walk)


def _compare(walk: Any) -> None:
    found = record.differences(walk.crowd.history, stored := record.ask(walk.product, record.TURNS))
    choices = sum(len(row["choices"]) for row in stored)
    walk.transcript.say(
        f"client's history: {len(walk.crowd.history)} messages and choices acknowledged; "
        f"database: {len(stored)} turns, {choices} standing choices; differences: {found or 'none'}"
    )
    reloads = sum(bool(each.before_reload) for each in walk.crowd.history)
    walk.transcript.say(f"reloads in the middle of a stream: {reloads}")
    walk.must(not found, f"history and database differ: {found}")


def _ask_doctor(walk: Any) -> None:
    report = record.doctor(walk.product)
    findings = [f["what"] for check in report["checks"] for f in check["findings"]]
    walk.transcript.say(
        f"doctor --json: exit code {report['exit_code']}, is_good {report['is_good']}, "
        f"{len(report['checks'])} checks, findings: {findings or 'none'}"
    )
    walk.must(report["is_good"] and report["exit_code"] == 0, f"doctor found {findings or report}")


def _read_consoles(walk: Any) -> None:
    visitors = walk.visitors
    walk.transcript.say(
        f"{len(visitors.pages_seen)} addresses visited; console errors, warnings, CSP violations, "
        f"requests elsewhere: {visitors.complaints or 'none'}"
    )
    if visitors.cut_off:
        walk.transcript.say(
            f"network errors in the consoles while a process was dead: {len(visitors.cut_off)}"
        )
    walk.must(not visitors.complaints, f"consoles: {visitors.complaints}")


def _list_deaths(walk: Any) -> None:
    rows = [
        (death.victim, death.moment, f"{death.seconds:.1f}" if death.seconds else "not back")
        for death in walk.deaths
    ]
    walk.transcript.table(("killed", "during", "back after, s"), rows)
    said = [line for line in walk.product.terminal().splitlines() if "was killed by" in line]
    walk.transcript.say(f"the supervisor said {len(said)} deaths")


def _last_pages(walk: Any) -> None:
    walk.lab.look_at(
        {"16-runs": "/lab/runs/", "16-checkpoints": "/lab/checkpoints/", "16-slots": "/lab/slots/"}
    )
    walk.visitors.shot(walk.crowd.page, "16-conversation", is_crowd=True)
    walk.transcript.say(f"{len(walk.visitors.taken)} screenshots in screenshots/:")
    walk.transcript.quote("\n".join(walk.visitors.taken))
