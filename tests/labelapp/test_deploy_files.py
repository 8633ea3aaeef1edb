"""The files for running it elsewhere give each process what it needs, and no more."""

import re
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
DATABASE = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}
MODELS = {"MODELSERVER_SECRET"}


def variables(service):
    """Every variable that the service sees: those of deploy/.env where it gets that, and its own."""
    lines = (DEPLOY / "environment.sample").read_text().splitlines()
    sample = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    return {*(sample if service.get("env_file") else ()), *service.get("environment", {})}


def test_only_what_runs_the_site_sees_its_secrets():
    secret = {"SECRET_KEY", "DATABASE_URL"}

    seen = {name: variables(service) for name, service in SERVICES.items()}

    assert seen["models"] == MODELS
    assert seen["database"] == DATABASE
    assert seen["redis"] == set()
    assert all(secret <= seen[name] for name in seen if name not in {"models", "database", "redis"})


def test_the_model_server_reads_checkpoints_and_runs_and_writes_nothing():
    roots = {
        word.removeprefix("--checkpoints-root=")
        for word in SERVICES["models"]["command"]
        if word.startswith("--checkpoints-root=")
    }
    (state,) = (mount.partition(":")[2] for mount in SERVICES["training"]["volumes"])

    mounts = SERVICES["models"]["volumes"]

    assert {mount["target"] for mount in mounts} == roots
    assert {mount["volume"]["subpath"] for mount in mounts} == {"checkpoints", "runs"}
    assert all(mount["target"] == f"{state}/{mount['volume']['subpath']}" for mount in mounts)
    assert all(mount["read_only"] and mount["source"] == "state" for mount in mounts)


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/sign-in/link/aToken_1-x/", "/sign-in/link/-"),
        ("/join/CODE/", "/join/-"),
        ("/sign-in/", "/sign-in/"),
        ("/join/", "/join/"),
        ("/manage/crowd/", "/manage/crowd/"),
    ],
)
def test_the_proxy_logs_no_token_of_a_link(path, logged):
    conf = (DEPLOY / "nginx.conf").read_text()
    ((pattern, masked),) = re.findall(r'map \$uri \$logged_path \{\n *~(\S+) "(\S+)";', conf)

    found = re.search(pattern, path)

    assert (masked.replace("$1", found[1]) if found else path) == logged
