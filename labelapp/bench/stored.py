"""`python -m labelapp.bench.stored`: every standing choice of the people who were simulated, one a line.

Reads only; what the rows should be is judged by `history`.
"""

import json

import django

django.setup()

from comparisons.models import Comparison  # noqa: E402 -- after setup


def main() -> None:
    """Print them."""
    rows = Comparison.objects.filter(choice_key__isnull=False, superseded_at__isnull=True)
    columns = ("choice_key", "crowdworker__account__username", "showing__public_id", "turn_id")
    for key, person, item, turn in rows.values_list(*columns).iterator():
        print(json.dumps({"key": str(key), "person": person, "item": str(item), "turn": turn}))


if __name__ == "__main__":
    main()
