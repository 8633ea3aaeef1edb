"""`./start` before there is anything: one line each, naming the cure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """Only what the script itself needs."""
    shutil.copy(ROOT / "start", tmp_path / "start")
    shutil.copy(ROOT / "requirements.txt", tmp_path / "requirements.txt")
    (tmp_path / "bin").mkdir()
    for name in ("sh", "dirname", "awk", "df", "cksum", "cat", "rm", "grep", "tail", "sed", "cut"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return tmp_path


def _program(folder, name, text):
    path = folder / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _start(clone, *words):
    return subprocess.run(
        ["./start", *words], cwd=clone, env={"PATH": str(clone / "bin")}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_no_python_new_enough(clone):
    _program(clone, "python3", "exit 1")

    done = _start(clone)

    assert done.returncode == 1
    assert done.stderr == (
        "./start: needs Python 3.11 or newer: install it, or set PYTHON=/path/to/python3\n"
    )


def test_no_venv_module(clone):
    _program(clone, "python3", f'[ "$2" = venv ] && exit 1; exec {sys.executable} "$@"')

    done = _start(clone)

    assert done.returncode == 1
    assert "no working venv module" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_no_network_for_pip(clone):
    fake = 'case "$*" in *pip*) echo "ERROR: Could not find a version"; exit 1;; esac; exit 0'
    (clone / ".venv" / "bin").mkdir(parents=True)
    python = clone / ".venv" / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{fake}\n")
    python.chmod(0o755)

    done = _start(clone)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "(ERROR: Could not find a version): is there a network?" in done.stderr


def test_full_disk(clone):
    _program(clone, "df", 'printf "Filesystem 1024-blocks Used Available\\nx 1 1 1000 1%% /\\n"')
    _program(clone, "python3", f'exec {sys.executable} "$@"')

    done = _start(clone)

    assert done.returncode == 1
    assert "free some space" in done.stderr


def test_taken_port_is_one_line():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "labelapp.supervisor", "--port", str(port)], cwd=ROOT,
            env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 1
    assert f"choose another with ./start --port {port + 1}" in done.stdout


def test_help_says_every_command():
    done = subprocess.run(
        [sys.executable, "-m", "labelapp.supervisor", "--help"], cwd=ROOT, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    for command in ("demo", "test", "bench", "manage"):
        assert f"./start {command}" in done.stdout


def test_a_command_by_hand_is_told_of_the_database_that_is_missing(tmp_path):
    (tmp_path / "services.json").write_text('{"DATABASE": "labels on db"}')
    environment = {**os.environ, "LABELAPP_VAR": str(tmp_path)}
    environment.pop("DATABASE_URL", None)

    done = subprocess.run(
        [sys.executable, "-m", "labelapp.supervisor", "manage", "version"], cwd=ROOT,
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "./start: what runs here keeps its rows in labels on db, "
        "and DATABASE_URL is not set: export it as ./start had it\n"
    )


@pytest.fixture
def elsewhere(clone):
    """A folder beside the script's; the script leads to this code, its packages all there."""
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncase "$*" in *pip*) exit 0;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (clone / "labelapp").symlink_to(ROOT / "labelapp")
    folder = clone / "else where"
    (folder / "rows").mkdir(parents=True)
    return folder


def _called_from(folder, *words, **environment):
    own = {"PATH": str(folder.parent / "bin"), "PYTHONWARNINGS": "ignore", **environment}
    return subprocess.run(
        ["../start", *words], cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("import_comparisons", "rows", "--objective", "helpful"),
        ("import_comparisons", "./rows", "--objective", "helpful"),
        ("import_comparisons", "../else where/rows", "--objective", "helpful"),
    ],
)
def test_files_named_to_a_command_count_from_where_it_is_called(elsewhere, words):
    done = _called_from(elsewhere, "manage", *words, LABELAPP_VAR=str(elsewhere / "var"))

    assert done.returncode == 1
    assert f"{words[1]} is a folder: name its files" in done.stderr


def test_a_checkpoint_named_to_a_bench_counts_from_where_it_is_called(elsewhere):
    done = _called_from(elsewhere, "bench", "serving", "--checkpoint", "rows")

    assert done.returncode == 1
    assert f"{elsewhere}/rows has no manifest.json" in done.stderr


def test_the_folder_of_this_instance_stays_the_projects(elsewhere):
    var = os.path.relpath(elsewhere / "var", ROOT)

    _called_from(elsewhere, "manage", "import_comparisons", "rows", LABELAPP_VAR=var)

    assert (elsewhere / "var" / "secret_key").exists()


def test_a_command_called_where_nobody_may_enter_runs_from_here(elsewhere):
    done = subprocess.run(
        [sys.executable, "-m", "labelapp.supervisor", "manage", "version"], cwd=ROOT,
        env={**os.environ, "CALLED_FROM": str(elsewhere / "gone")}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
