"""How often something was tried within a window, or that it was noted; the row is the atomic counter.

Knows keys and counts; knows nothing of what is being limited.
"""

from django.db import models


class RateWindow(models.Model):
    """One counted or noted key: a sign-in name with an address, an invitation, a crowdworker."""

    key = models.CharField(max_length=120, unique=True)
    count = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"
