"""Database engines of our own, thin over Django's."""
