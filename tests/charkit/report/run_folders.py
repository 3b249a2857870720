"""Folders of results, small, as the commands and the study write them."""

import json

import numpy as np

from charkit.heads.sweep.table import to_frame, write_table

NASTY = "<script>document.title='broken'</script>"
SIZES = (16, 64, 256, 1024)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 200"><defs><path id="glyph" '
    'd="M 0 0 \nL 9 9 \nz\n"/></defs><g id="unused"><use href="#glyph" style="fill: #ff0000"/></g>'
    "</svg>"
)
VAST = SVG.replace("M 0 0 ", "M 0 0 \nL 5 5 " * 100_000)
"""More than a page takes as it is."""

ANSWER = {
    "task": NASTY,
    "question": "How many labels reach 0.7?",
    "n": 64,
    "accuracy": [
        {"n": 64, "mean": 0.6, "low": 0.55, "high": 0.65},
        {"n": 256, "mean": 0.7, "low": 0.65, "high": 0.75},
    ],
    "verdicts": [{"code": "shift", "sentence": "Other texts.", "severity": "warning"}],
}
FINDING = """Layer **4** is best on 2 of 2 tasks. The last layer costs 3 points.

| layer | score |
|---|--:|
| 4 | 0.71 |

<img src=x onerror="document.title='broken'"> [a link](https://example.org) ![x](https://example.org/x.svg)
"""
SCORECARD = {
    "figures": {
        "accuracy_recommended": [
            {"n0": n0, "multiple": k, "method": m, "error": e, "within_3": 0.4, "tasks": 9}
            for n0, k in ((64, 2), (64, 8), (128, 4), (256, 2), (256, 8), (512, 4))
            for m, e in (("pow2", 6.0), ("metamodel", 4.0), ("no_fisher", 4.5))
        ],
        "intervals": {"pilots_64_to_256": {"rows": 0.93, "tasks": 0.9, "n_tasks": 30}},
    },
    "seconds": 12,
    "versions": {"torch": "2.9"},
    "code": {"commit": "a" * 40, "dirty": False},
}


def truth(task, n):
    """The mean at layer 4: `low` never gets far, others do."""
    return {"flat": 0.5}.get(task, 0.9 - 1.6 * n**-0.5)


def sweep_table(tasks=(NASTY, "reviews", "flat"), **fixed):
    """Layer 4 of 6 is best; controls at 0.5, so that "flat" has no signal."""
    rows = []
    for task in tasks:
        for n in SIZES:
            for control, layers in (("none", range(7)), ("majority", (-1,))):
                for layer in layers:
                    value = truth(task, n) - 0.04 * abs(layer - 4) if control == "none" else 0.5
                    row = {
                        "encoder": "minilm", "encoder_fingerprint": "f" * 8, "control": control,
                        "task": task, "subset": "all", "layer": layer, "n_train": n, "seed": 0,
                        "metric": "accuracy", "score": value, "score_low": value - 0.02,
                        "score_high": value + 0.02, "n_eval": 500, "state": "done",
                        "converged": True,
                    }  # fmt: skip
                    rows.append(row | fixed)
    return to_frame(rows)


def experiment(name, **changed):
    return {
        "name": name,
        "question": f"What do {name} say?",
        "asked_by": "the notes",
        "headline": f"All of {name} is in layer 4",
        "finding": FINDING,
        "summary": {"gain": 3.0, "unknown": float("nan")},
        "figures": [f"figures/{name}.svg"],
        "table": f"{name}.csv",
        "manifest": {
            "settings": {"n": 512}, "changed": {}, "versions": {"torch": "2.9"},
            "code": {"commit": "b" * 40, "dirty": True},
        },
    } | changed  # fmt: skip


def write_run(folder, *, experiments=("layers", "norm")):
    """Write a folder with all that a study leaves."""
    figures = folder / "experiments" / "figures"
    for place in (figures, folder / "figures", folder / "answer"):
        place.mkdir(parents=True)
    write_table(sweep_table(), folder / "pilot.parquet")
    (folder / "pilot.json").write_text("{}")
    (folder / "scorecard.json").write_text(json.dumps(SCORECARD))
    (folder / "answer" / "answer.json").write_text(json.dumps(ANSWER))
    for name in experiments:
        (folder / "experiments" / f"{name}.json").write_text(json.dumps(experiment(name)))
        (figures / f"{name}.svg").write_text(SVG)
        (figures / f"{name}.csv").write_text("a,b\n1,2\n")
    (folder / "figures" / "next_labels.svg").write_text(SVG)
    (folder / "figures" / "vast.svg").write_text(VAST)
    (folder / "figures" / "curves_reviews.svg").write_text(SVG)
    return folder


def reached(task, target):
    """The labels at which the straight line over log n between measured sizes meets a target."""
    values = [truth(task, n) for n in SIZES]
    if max(values) < target:
        return None
    return float(np.exp(np.interp(target, values, np.log(SIZES))))
