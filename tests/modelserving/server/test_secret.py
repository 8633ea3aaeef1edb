"""Whom the model server lets in: on a port only who knows a secret that cannot be guessed."""

import pytest

from modelserving.server.__main__ import arguments, secret_of

LONG = "sixteen letters!"
PORT, SOCKET = ("--port", "8100"), ("--uds", "models.sock")


@pytest.mark.parametrize(
    ("words", "secret", "says"),
    [
        (PORT, "", "no secret"),
        (PORT, "abc", "too short for a port: use 16 characters or more"),
        (PORT, LONG[:-1], "too short for a port"),
        ((*PORT, "--host", "0.0.0.0"), LONG[:-1], "too short for a port"),
    ],
)
def test_a_port_without_a_secret_worth_the_name_is_refused(monkeypatch, words, secret, says):
    monkeypatch.setenv("MODELSERVER_SECRET", secret)

    with pytest.raises(SystemExit, match=says):
        secret_of(arguments(words))


@pytest.mark.parametrize(
    ("words", "secret", "taken"), [(PORT, LONG, LONG), (SOCKET, "", None), (SOCKET, "abc", "abc")]
)
def test_a_long_secret_opens_a_port_and_a_private_socket_needs_none(
    monkeypatch, words, secret, taken
):
    monkeypatch.setenv("MODELSERVER_SECRET", secret)

    assert secret_of(arguments(words)) == taken
