"""Who signs in, with which role, by which secret; and the audit of what staff did.

Knows nothing of crowd work: that is the crowdworker's profile.
"""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class Account(AbstractUser):
    """A person who signs in. The role opens sides of the app; there are no per-object grants."""

    class Role(models.TextChoices):
        CROWDWORKER = "crowdworker", "crowdworker"
        RESEARCHER = "researcher", "researcher"
        ADMINISTRATOR = "administrator", "administrator"

    class Theme(models.TextChoices):
        SYSTEM = "system", "system"
        LIGHT = "light", "light"
        DARK = "dark", "dark"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    role = models.CharField(max_length=16, choices=Role, default=Role.CROWDWORKER)
    theme = models.CharField(max_length=8, choices=Theme, default=Theme.SYSTEM)
    language = models.CharField(max_length=12, blank=True)
    has_single_keys = models.BooleanField(default=True)  # WCAG 2.1.4: can be switched off
    key_map = models.JSONField(default=dict, blank=True)  # action -> key, only where changed

    @property
    def is_researcher(self) -> bool:
        """Researchers see the lab; administrators see everything."""
        return self.role in {self.Role.RESEARCHER, self.Role.ADMINISTRATOR}

    @property
    def is_administrator(self) -> bool:
        """Administrators run campaigns, the crowd and promotions."""
        return self.role == self.Role.ADMINISTRATOR


class SignInLink(models.Model):
    """A one-time link; only the sha256 of its token is kept."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="sign_in_links")
    token_sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)


class ApiToken(models.Model):
    """A bearer token for the REST API; only its sha256 is kept, shown once when made."""

    class Scope(models.TextChoices):
        READ = "read", "read"
        RUN = "run", "read and start runs"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    token_sha256 = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.READ)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)


class AuditEntry(models.Model):
    """Append-only: who did what to which object; `hash` chains over the previous entry."""

    actor = models.ForeignKey(
        Account, on_delete=models.PROTECT, null=True, related_name="audit_entries"
    )
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64, unique=True)  # so the chain cannot fork
    hash = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["object_type", "object_id"])]
