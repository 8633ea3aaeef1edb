"""Folders, the lock, and paths that sockets can bear."""

import json
import os
import stat
from contextlib import nullcontext

import pytest

from labelapp.env import running_services
from labelapp.supervisor import places as places_module
from labelapp.supervisor.places import (
    LONGEST_SOCKET_PATH,
    CannotStart,
    announce_services,
    prepare_places,
    refuse_another_database,
    take_lock,
)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_private(tmp_path):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path / "var")})

    assert _mode(places.var) == 0o700
    assert _mode(places.run) == 0o700
    assert places.log.is_dir()


def test_long_paths_get_a_short_private_folder_for_sockets(tmp_path):
    deep = tmp_path / ("a" * 60) / ("b" * 60)

    places = prepare_places({"LABELAPP_VAR": str(deep)})

    assert len(os.fsencode(places.modelserver_socket)) <= LONGEST_SOCKET_PATH
    assert _mode(places.run) == 0o700
    places.run.rmdir()


def test_second_instance_is_told_of_the_first(tmp_path):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})

    with (
        take_lock(places, address="http://127.0.0.1:8000"),
        pytest.raises(CannotStart, match=r"already running at http://127\.0\.0\.1:8000"),
    ):
        take_lock(places, address="http://127.0.0.1:8001")

    take_lock(places, address="http://127.0.0.1:8001").close()


def test_full_disk_is_refused_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(places_module, "LEAST_FREE_BYTES", 1 << 60)

    with pytest.raises(CannotStart, match="set LABELAPP_VAR to a folder on another disk"):
        prepare_places({"LABELAPP_VAR": str(tmp_path)})


def test_a_file_in_the_way_is_named(tmp_path):
    in_the_way = tmp_path / "var"
    in_the_way.write_text("")

    with pytest.raises(CannotStart, match="set LABELAPP_VAR to a folder of yours"):
        prepare_places({"LABELAPP_VAR": str(in_the_way)})


def test_commands_by_hand_find_what_runs(tmp_path):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})

    announce_services(places, {"REDIS_URL": "unix:///x"})

    assert running_services(places.var) == {"REDIS_URL": "unix:///x"}
    places.services.write_text(json.dumps({})[:-1])
    assert running_services(places.var) == {}


def test_what_is_announced_holds_no_secret_of_the_database(tmp_path):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})

    announce_services(
        places, {"ARTEFACTS": "/shared", "DATABASE_URL": "postgresql://ada:secret@db/labels"}
    )

    assert running_services(places.var) == {
        "ARTEFACTS": "/shared", "DATABASE": "labels on db",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("announced", "given", "is_refused"),
    [
        ({}, {}, False),
        ({"DATABASE_URL": "postgresql://ada:secret@db/labels"}, {}, True),
        (
            {"DATABASE_URL": "postgresql://ada:secret@db/labels"},
            {"DATABASE_URL": "postgresql://other/labels"},  # said, so meant
            False,
        ),
    ],
)
def test_a_command_by_hand_opens_no_other_database_by_mistake(
    tmp_path, announced, given, is_refused
):
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})
    announce_services(places, announced)
    expected = (
        pytest.raises(CannotStart, match="in labels on db, and DATABASE_URL is not set")
        if is_refused
        else nullcontext()
    )

    with expected:
        refuse_another_database({"LABELAPP_VAR": str(tmp_path), **given})
