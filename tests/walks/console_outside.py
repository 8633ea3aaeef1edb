"""Outside the browser: exports that load elsewhere, commands that fail in one line, the REST API with a console-made token.

Knows commands and addresses, as a script does; knows nothing of pages but the one that makes a token.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.walks.instance import ROOT, RunningProduct

LOAD = """
import json, sys
from datasets import load_dataset
folder, wanted = sys.argv[1], {}
for path in sorted(__import__("pathlib").Path(folder).iterdir()):
    part = "train" if "train" in path.name else "test" if "test" in path.name else ""
    if part and ".json" in path.name: wanted[part] = str(path)
loaded = load_dataset("json", data_files=wanted, cache_dir=folder + "/cache")
print(json.dumps({part: [len(rows), rows.column_names] for part, rows in loaded.items()}))
"""
REFUSED = (  # words, exit code
    (("start_run", "preference_model", "--release", "nobody"), 1),
    (("start_run", "ppo", "--release", "walk", "--set", "kl_weight=-1"), 1),
    (("export_release", "nobody", "--to", "/tmp"), 1),
    (("import_comparisons", "/nowhere.jsonl", "--objective", "helpful"), 1),
    (("import_comparisons",), 2),
    (("promote", "nobody", "--slot", "helpful"), 1),
)


def look_from_outside(walk: Any) -> None:
    """Exports, refusals, API."""
    walk.transcript.heading("Exports, command line, REST API")
    _export(walk)
    _be_refused(walk)
    _use_api(walk)


def _run(product: RunningProduct, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *words], cwd=ROOT, env={**product.environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def _export(walk: Any) -> None:
    for format_ in ("hh", "trl", "rich"):
        folder = walk.product.var.parent / f"export-{format_}"
        walk.product.manage("export_release", "walk", "--format", format_, "--to", str(folder))
        loaded = _run(walk.product, "-c", LOAD, str(folder))
        last = loaded.stdout.strip().rpartition("\n")[2]
        walk.transcript.say(
            f"export {format_}, by datasets.load_dataset: {last or loaded.stderr[-300:]}"
        )
        walk.must(loaded.returncode == 0, f"export {format_} does not load")
        if format_ == "hh":
            _round_trip(walk, folder)


def _round_trip(walk: Any, folder: Path) -> None:
    """The HH export read by the importer again: the same pairs, so nothing new."""
    files = [str(path) for path in sorted(folder.glob("*.json*"))]
    words = (
        "import_comparisons",
        *files,
        "--objective",
        "helpful",
        "--source",
        "round trip",
        "--json",
    )
    reports = json.loads(walk.product.manage(*words, timeout=600))
    totals = {key: sum(r[key] for r in reports) for key in ("lines", "imported", "already_there")}
    walk.transcript.say(
        f"HH export through the importer: {totals}, bad lines {[r['bad'] for r in reports]}"
    )
    walk.must(not any(r["bad"] for r in reports), f"the HH export does not read back: {reports}")
    left_out = sum(len(r["same_text"]) for r in reports)
    walk.must(
        totals["lines"] == totals["imported"] + totals["already_there"] + left_out,
        f"round trip: {totals}",
    )


def _be_refused(walk: Any) -> None:
    for words, code in REFUSED:
        done = _run(walk.product, "manage.py", *words)
        said = done.stderr.strip().splitlines()
        walk.transcript.say(
            f"`{' '.join(words)}`: exit code {done.returncode}, “{' / '.join(said)[:240]}”"
        )
        walk.must(
            done.returncode == code and len(said) == 1, f"{words}: {done.returncode} {said[:3]}"
        )


def _use_api(walk: Any) -> None:
    page = walk.lab.page
    walk.lab.confirm()
    page.goto("/manage/api/")
    page.fill("form.card [name=name]", "the walk")
    options = page.locator("form.card [name=scope] option").all()
    page.select_option("form.card [name=scope]", options[-1].get_attribute("value"))
    page.click("form.card .btn.primary")
    token = page.inner_text("code.secret").strip()
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{walk.product.base_url}/api/v1/"
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as api:
        for name in ("releases", "runs", "checkpoints", "deployments"):
            rows = api.get(f"{name}/").raise_for_status().json()["results"]
            walk.transcript.say(f"GET /api/v1/{name}/: {len(rows)} rows")
            walk.must(bool(rows), f"the API lists no {name}")
        run = _start_and_stop(api)
        walk.transcript.say(f"POST /api/v1/runs/ → {run}")
        size = _download(api)
        walk.transcript.say(f"an export made and downloaded through the API: {size:,} bytes")
        walk.must(size > 1000, "the API's export is empty")
    anonymous = httpx.get(f"{url}releases/", trust_env=False).status_code
    walk.must(anonymous in {401, 403}, f"the API answers strangers: {anonymous}")


def _start_and_stop(api: httpx.Client) -> str:
    wanted = {"kind": "preference_model", "release": "walk", "overrides": {"max_comparisons": "32"}}
    answer = api.post("runs/", json=wanted)
    answer.raise_for_status()
    public_id = answer.json()["public_id"]
    api.post(f"runs/{public_id}/stop/").raise_for_status()
    deadline, state = time.monotonic() + 120, ""
    while state not in {"stopped", "done", "failed"} and time.monotonic() < deadline:
        time.sleep(1)
        state = api.get(f"runs/{public_id}/").json()["state"]
    return f"{answer.status_code}, then stopped through the API: {state}"


def _download(api: httpx.Client) -> int:
    api.post("releases/walk/exports/", json={"format": "trl"}).raise_for_status()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = api.get("releases/walk/exports/trl/download/", follow_redirects=True)
        if answer.is_success:
            return len(answer.content)
        time.sleep(1)
    return 0
