"""What the environment makes of the settings."""

import runpy
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from labelapp.env import EnvError

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("PUBLIC_URL", "ALLOWED_HOSTS", "ARTEFACTS", "DATABASE_URL", "CONFIRM_MINUTES", "LOG_LEVEL")


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """The settings as a new process would read them."""

    def read(**environment):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("LABELAPP_VAR", str(tmp_path))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "labelapp" / "settings.py"))

    return read


@pytest.mark.parametrize(
    ("public_url", "own"),
    [
        ("https://labels.example.org", ["labels.example.org"]),
        ("http://localhost:8000", ["127.0.0.1", "localhost", "[::1]"]),
    ],
)
def test_further_names_are_answered_to_beside_our_own(settings_of, public_url, own):
    settings = settings_of(PUBLIC_URL=public_url, ALLOWED_HOSTS="a.example.org, b.example.org")

    assert settings["ALLOWED_HOSTS"] == [*own, "a.example.org", "b.example.org"]


def test_a_command_by_hand_uses_the_artefacts_of_what_runs(settings_of, tmp_path):
    (tmp_path / "services.json").write_text('{"ARTEFACTS": "/shared/artefacts"}')

    assert settings_of()["ARTEFACTS"] == Path("/shared/artefacts")
    assert settings_of(ARTEFACTS="/mine")["ARTEFACTS"] == Path("/mine")


def test_minutes_until_one_is_asked_again_are_at_least_one(settings_of):
    assert settings_of()["CONFIRM_MINUTES"] == 15
    assert settings_of(CONFIRM_MINUTES="5")["CONFIRM_MINUTES"] == 5
    with pytest.raises(ImproperlyConfigured, match="CONFIRM_MINUTES=0: write 1 or more"):
        settings_of(CONFIRM_MINUTES="0")


def test_a_log_level_is_one_of_a_few_words_in_any_case(settings_of):
    assert settings_of()["LOGGING"]["root"]["level"] == "INFO"
    assert settings_of(LOG_LEVEL="debug")["LOGGING"]["root"]["level"] == "DEBUG"
    with pytest.raises(EnvError, match="LOG_LEVEL='foo': write one of DEBUG, INFO, WARNING"):
        settings_of(LOG_LEVEL="foo")
