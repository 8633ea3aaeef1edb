"""`manage.py demo`: accounts, campaigns and sample comparisons to look at.

Knows nothing of its own: the content is made in `labelapp.demo`.
"""

from typing import Any

from django.core.management.base import BaseCommand

from labelapp.demo.making import make_demo


class Command(BaseCommand):
    """Make what is missing of the demo."""

    help = "Make demo accounts, two campaigns and sample comparisons; harmless to repeat."

    def handle(self, **_options: Any) -> None:
        """Run."""
        for line in make_demo():
            self.stdout.write(line)
