"""Ids that other platforms know people by: kept as keyed hashes, never as they are.

Knows hashes and the secret they hang on; knows nothing of how a person arrives.
"""

from django.conf import settings
from django.utils.crypto import salted_hmac

from comparisons.models import Crowdworker


def external_id_hash(*, platform: str, external_id: str, secret: str | None = None) -> str:
    """A keyed hash of the id that another platform knows a person by.

    Its key is derived from SECRET_KEY for this one use; `secret` is an earlier one.
    """
    message = f"{platform}:{external_id.strip()}"
    return salted_hmac(
        "comparisons.external_id", message, secret=secret, algorithm="sha256"
    ).hexdigest()


def crowdworker_from(*, platform: str, external_id: str) -> Crowdworker | None:
    """Who came with this id before; a hash made with an earlier SECRET_KEY is renewed."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        hashed = external_id_hash(platform=platform, external_id=external_id, secret=secret)
        found = Crowdworker.objects.filter(platform=platform, external_id_hash=hashed).first()
        if found and secret != settings.SECRET_KEY:
            found.external_id_hash = external_id_hash(platform=platform, external_id=external_id)
            found.save(update_fields=["external_id_hash"])
        if found:
            return found
    return None
