"""Training's background work: each task fetches its row and calls one function.

Knows names and arguments only; every decision is a service's.
"""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down


@shared_task(name="training.execute_run", ignore_result=True)
def execute_run(*, run_id: int, **_unknown: Any) -> None:
    """Train a run to an end, unless another worker has it."""
    from training import process  # noqa: PLC0415 -- leaf task

    process.execute(run_id)


@shared_task(name="training.reconcile_runs", ignore_result=True)
def reconcile_runs(**_unknown: Any) -> None:
    """Ring again for runs that wait or whose worker is gone."""
    from training import services  # noqa: PLC0415 -- leaf task

    services.ring_for_waiting_runs()


@shared_task(name="training.advance_iterations", ignore_result=True)
def advance_iterations(**_unknown: Any) -> None:
    """Let every open iteration of the online loop go as far as it can."""
    from training import online_loop  # noqa: PLC0415 -- leaf task

    online_loop.advance_all()


@worker_shutting_down.connect
def _end_children(**_unknown: Any) -> None:
    """A worker that is asked to end lets its child save its state first."""
    from training import process  # noqa: PLC0415 -- leaf task

    process.shutting_down.set()
