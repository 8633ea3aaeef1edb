"""The arrows between the layers, and a web that never loads torch."""

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT

RESOLVE_EVERYTHING = """
import sys, django
django.setup()
from django.urls import get_resolver
from django.core import management

def walk(resolver):
    for each in resolver.url_patterns:
        if hasattr(each, "url_patterns"):
            yield from walk(each)
        else:
            yield each.callback

callbacks = list(walk(get_resolver()))
import labelapp.asgi, labelapp.celery
labelapp.celery.app.loader.import_default_modules()
loaded = {"torch", "transformers", "safetensors.torch"} & set(sys.modules)
print(len(callbacks), sorted(loaded))
"""


def _run(command, **environment):
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")

    done = _run([str(lint), "--no-cache"])

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_web_processes_do_not_load_torch(tmp_path):
    done = _run([sys.executable, "-c", RESOLVE_EVERYTHING],
                DJANGO_SETTINGS_MODULE="labelapp.settings", LABELAPP_VAR=str(tmp_path))  # fmt: skip

    assert done.returncode == 0, done.stderr[-4000:]
    count, loaded = done.stdout.strip().split(" ", 1)
    assert int(count) > 10
    assert loaded == "[]"


def test_supervisor_loads_neither_django_nor_torch():
    code = (
        "import labelapp.supervisor.__main__, labelapp.supervisor.running, sys;"
        "print(sorted({'torch', 'django.db.models'} & set(sys.modules)))"
    )

    done = _run([sys.executable, "-c", code])

    assert done.stdout.strip() == "[]", done.stderr[-2000:]
