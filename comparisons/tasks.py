"""Background work of this app: each task fetches its row and calls one service.

Knows names and arguments only; every decision is a service's.
"""

import logging

from celery import shared_task

logger = logging.getLogger(__name__)


@shared_task(name="comparisons.cut_release")
def cut_release(*, release_id: int) -> None:
    """Cut a release that was asked for."""
    from comparisons.services import releasing  # noqa: PLC0415 -- leaf task

    releasing.cut_in_background(release_id)


@shared_task(name="comparisons.make_export")
def make_export(*, export_id: int) -> None:
    """Make an export that was asked for."""
    from comparisons.services import exporting  # noqa: PLC0415 -- leaf task

    exporting.make_in_background(export_id)


@shared_task(name="comparisons.reconcile_releases")
def reconcile_releases() -> None:
    """Take up releases and exports that nobody works on (a worker was killed, the bell was lost)."""
    from comparisons.services import exporting, releasing  # noqa: PLC0415 -- leaf task

    releasing.take_up_waiting()
    exporting.take_up_waiting()


@shared_task(name="comparisons.fill_turn")
def fill_turn(*, turn_id: int) -> None:
    """Write the responses of a turn."""
    from comparisons.services import generating  # noqa: PLC0415 -- leaf task

    generating.fill_turn(turn_id)


@shared_task(name="comparisons.reconcile_turns")
def reconcile_turns() -> None:
    """Ring again for turns that nobody fills."""
    from comparisons.services import generating  # noqa: PLC0415 -- leaf task

    generating.reconcile_turns()


@shared_task(name="comparisons.warm_servers")
def warm_servers() -> None:
    """Load on every model server what slots draw from."""
    from modelserving.warming import warm_servers as warm  # noqa: PLC0415 -- leaf task

    warm()


@shared_task(name="comparisons.end_leases")
def end_leases() -> None:
    """Give back work, second opinions and wanted replies whose lease ran out; delete what is over."""
    from comparisons.services import (  # noqa: PLC0415 -- leaf task
        assignment_ends,
        opinions,
        replies,
        sweeping,
    )

    assignment_ends.give_back_overdue()
    opinions.release_overdue()
    replies.release_overdue()
    sweeping.sweep_rate_windows()
    sweeping.sweep_sessions()
