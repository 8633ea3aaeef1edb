"""Is the learning real? `python -m training.bench.learning WHAT --hh FOLDER --out FOLDER` trains from the starter and says.

`scaling`: accuracy of preference models on 1k, 2k, 4k and all comparisons. `cross`: helpful-only, harmless-only, mixed
and weighted models on each objective. `ppo`: a train and a test PM on disjoint halves, then PPO, reward against √KL. Every number has
its n and interval; results and figures stand in OUT. It knows no database: runs are made and started by hand.
"""

import argparse
import functools
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelserving.core.artifacts import utc_now, write_manifest
from training.bench.workload import STARTER, hh_dialogues
from training.config import presets, to_dict, with_overrides
from training.core.new_run import write_run
from training.core.run_directory import reference
from training.report import plots
from training.report.drawing import axes, intervals

SIZES = (1000, 2000, 4000, 0)  # 0: all
TEST_SHARE = 0.2
# name → folder, the objective trained on ("": both), settings; scaling trains the third, too
CROSS: dict[str, tuple[str, str, dict[str, str]]] = {
    "helpful": ("pm-on-helpful", "helpful", {}),
    "harmless": ("pm-on-harmless", "harmless", {}),
    "mix": ("pm-all", "", {}),
    # as if there were as many harmless comparisons as helpful ones
    "weighted mix": ("pm-weighted", "", {"objective_weights": '{"harmless": 2.7}'}),
}
Results = dict[str, Any]


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The public files as rows of a release; the file's name says objective and tranche."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        objective, tranche = path.name.removesuffix(".jsonl.gz").split("-", 1)
        for number, dialogue in enumerate(hh_dialogues(path)):
            yield {
                "comparison": f"{path.name}:{number}",
                "conversation": dialogue["messages"][0]["content"],
                "turn": (len(dialogue["messages"]) + 1) // 2,
                "messages": dialogue["messages"],
                "picked": dialogue["chosen"],
                "other": dialogue["rejected"],
                "question": "less_harmful" if objective == "harmless" else "more_helpful",
                "objective": objective,
                "strength": None,
                "tranche": tranche,
                "origin": "import",
                "picked_checkpoint": None,
                "other_checkpoint": None,
                "finish_reasons": [],
            }


def is_test(row: dict[str, Any]) -> bool:
    """Our own split, by the first human message: a dialogue never stands in both."""
    digest = hashlib.sha256(f"learning:{row['conversation'].strip()}".encode()).digest()
    return digest[0] < 256 * TEST_SHARE


def make_release(directory: Path, *, hh: Path, train_on: str = "") -> Path:
    """A release with all test rows and the training rows of one objective, or of both."""
    if directory.exists():
        return directory
    directory.mkdir(parents=True)
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for row in rows(hh):
        split = "test" if is_test(row) else "train"
        if split == "test" or train_on in ("", row["objective"]):
            parts[split].append(row)
    for split, found in parts.items():
        lines = "".join(json.dumps(row) + "\n" for row in found)
        (directory / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    write_manifest(directory, kind="release", parents=[], config={}, code="", created=utc_now())
    return directory


def trained(path: Path, kind: str, *, inputs: dict[str, Path], **changes: str) -> Results:
    """Train a run by hand, or go on with it; its results."""
    if not path.exists():
        config = with_overrides(presets(kind)["demo"], changes)
        named = {role: reference(where) for role, where in inputs.items()}
        write_run(path, config=to_dict(config), inputs=named)
    status = path / "status.json"
    if not status.exists() or json.loads(status.read_text())["state"] == "failed":
        subprocess.run([sys.executable, "-m", "training.core", str(path)], check=True)
    plots.draw_all(kind, directory=path)
    results: Results = json.loads(status.read_text())["results"]
    return results


def scaling(out: Path, *, hh: Path, initial: Path) -> Results:
    """Accuracy on the same test split by the number of comparisons trained on."""
    release = make_release(out / "release-mix", hh=hh)
    inputs = {"initial": initial, "release": release}
    found: Results = {}
    for size in SIZES:
        run = trained(
            out / f"pm-{size or 'all'}", "preference_model", inputs=inputs,
            max_comparisons=str(size),
        )  # fmt: skip
        found[str(run["comparisons"]["train"])] = run["test_accuracy"]
    figure, area = axes(x_label="comparisons trained on", y_label="share of test comparisons right")
    area.set_xscale("log")
    intervals(area, x=[float(each) for each in found], shares=list(found.values()), name="test")
    area.axhline(0.5, linestyle=":", linewidth=1, label="chance")
    figure.savefig(out / "scaling.svg", metadata={"Date": None})
    return found


def cross(out: Path, *, hh: Path, initial: Path) -> Results:
    """Each model on each objective of the same test split."""
    return {name: cross_row(name, out=out, hh=hh, initial=initial) for name in CROSS}


def cross_row(name: str, *, out: Path, hh: Path, initial: Path) -> Results:
    """One of them."""
    folder, objective, changes = CROSS[name]
    release = make_release(out / f"release-{objective or 'mix'}", hh=hh, train_on=objective)
    inputs = {"initial": initial, "release": release}
    run = trained(out / folder, "preference_model", inputs=inputs, **changes)
    accuracies = {each: run[f"test_accuracy_{each}"] for each in ("helpful", "harmless")}
    return {"comparisons": run["comparisons"]["train"], **accuracies}


def ppo(out: Path, *, hh: Path, initial: Path, steps: int = 0) -> Results:
    """Train and test PM on disjoint halves, then PPO against the first, watched by the second."""
    release = make_release(out / "release-mix", hh=hh)
    inputs = {"initial": initial, "release": release}
    judges = trained(out / "pm-halves", "preference_model", inputs=inputs, disjoint_models="2")
    ranker, test_pm = (
        out / "pm-halves" / judges[name] for name in ("checkpoint", "test_pm_checkpoint")
    )
    inputs |= {"ranker": ranker, "test_pm": test_pm}
    changes = {"steps": str(steps)} if steps else {}
    run = trained(out / "ppo", "ppo", inputs=inputs, **changes)
    return {"train_pm": judges["test_accuracy"], "test_pm": judges["test_pm_test_accuracy"], **run}


def main() -> None:
    """Train what is asked for and print its table as JSON."""
    parser = argparse.ArgumentParser(prog="python -m training.bench.learning")
    parser.add_argument("what", choices=("scaling", "cross", "ppo"))
    parser.add_argument("--hh", type=Path, required=True, help="folder of public HH files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--initial", type=Path, default=STARTER)
    parser.add_argument("--ppo-steps", type=int, default=0, help="0: as the demo preset has it")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    measure = {
        "scaling": scaling,
        "cross": cross,
        "ppo": functools.partial(ppo, steps=options.ppo_steps),
    }[options.what]
    found = measure(options.out.resolve(), hh=options.hh, initial=options.initial)
    (options.out / f"{options.what}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
