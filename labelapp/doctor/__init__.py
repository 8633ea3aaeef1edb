"""Checks of what must always hold, for operators and for tests."""
