"""Which campaigns' practice comparisons stand between a person and the work.

Reads only; the practice itself is `services.qualifying`'s.
"""

from django.db.models import Exists, OuterRef, Q

from comparisons.models import Qualification, QualificationResult


def needs_no_practice(*, crowdworker: int) -> Q:
    """The condition on campaigns: no practice asked for, or passed in any version."""
    asked = Qualification.objects.filter(campaign=OuterRef("pk"), retired_at__isnull=True)
    passed = QualificationResult.objects.filter(
        attempt__qualification__campaign=OuterRef("pk"),
        attempt__crowdworker=crowdworker,
        is_passed=True,
    )
    return Q(~Exists(asked)) | Q(Exists(passed))
