"""``charkit doctor``, ``fetch``, ``cache``, ``verify`` and ``report``: what is there already."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import reported
from charkit.config import printable
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.store.entry import RUN_FILE

if TYPE_CHECKING:
    from charkit.store.entry import StoreEntry
    from charkit.store.store import Store


@reported
def doctor(
    cache_dir: o.CacheDir = None, fmt: o.FormatOption = "table", debug: o.Debug = False
) -> None:
    """Show what this machine has and which commands can run; exit code 4 when estimate cannot."""
    output = o.output_of(fmt, quiet=False, verbose=False, log_file=None)
    from charkit.machine import doctor as examine

    report = examine(o.store_at(cache_dir))
    commands = {c.name: {"state": c.state, "lacks": c.lacks} for c in report.commands}
    output.rows(report.rows(), key="checks", extra={"ok": report.ok, "commands": commands})
    if not report.ok:
        raise typer.Exit(4)


@reported
@o.takes_options
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Encoders (NAME or NAME@REVISION) and tasks (glue/NAME, hub:NAME/CONFIG).",
            show_default=False,
        ),
    ],
    *,
    show: o.ShowOptions,
) -> None:
    """Download encoders and tasks, so that later work needs no network."""
    output = show.output()
    from charkit.api import fetch as fetch_names

    output.rows([f.row() for f in fetch_names(list(names))], key="fetched", extra={})


cache_app = typer.Typer(help="List, show and remove stored results.", no_args_is_help=True)

_KINDS = ("fisher", "heads", "states", "task_heads", "tasks", "token_states")
_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(text: str) -> float:
    """Read a duration such as ``30d`` as seconds.

    Raises:
        UsageError: It is not a number with one of the units m, h, d, w.

    >>> seconds_of("2h")
    7200.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if match is None:
        raise UsageError(
            f"--older: expected a number with m, h, d or w, such as 30d, got {text!r}."
        )
    return float(match[1]) * _UNITS_S[match[2]]


def _size(n_bytes: int) -> str:
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


@cache_app.command("list")
@reported
@o.takes_options
def list_entries(
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind. May be repeated.")
    ] = None,
    cache_dir: o.CacheDir = None,
    *,
    show: o.ShowOptions,
) -> None:
    """List stored results: states of texts, sweep cells, cards of tasks."""
    output = show.output()
    store = o.store_at(cache_dir)
    _known(store, kinds)
    entries = store.entries(kinds)
    table = output.format == "table"
    rows = [
        {
            "kind": e.kind,
            "key": e.key,
            "state": e.state,
            "size": _size(e.n_bytes) if table else e.n_bytes,
            "created": e.created.isoformat(timespec="seconds"),
            "what": _what(e),
        }
        for e in entries
    ]
    total = sum(e.n_bytes for e in entries)
    output.rows(rows, key="entries", extra={"total_bytes": total})
    output.note(f"{len(rows)} entries, {_size(total)}, in {store.root}")


def _what(entry: StoreEntry) -> str:
    """Return in a few words what an entry holds: its manifest's, or its small index file's.

    Entries are listed without a look at their hashes: any of this may be damaged.
    """
    manifest = entry.manifest
    config = {**_object(manifest.get("config")), **_object(manifest.get("about"))}
    for file in ("card.json", "index.json"):
        place = entry.path / file
        if entry.state == "complete" and place.is_file():
            try:
                config = dict(_object(json.loads(place.read_bytes())))
            except (OSError, ValueError, RecursionError):
                return "damaged; see 'charkit verify'"
    texts = config.get("n_samples", config.get("n_train"))
    names = ("name", "subset", "control", "encoder", "pooling", "seed")
    words = [printable(str(config[n])) for n in names if n in config]
    return ", ".join([*words, *([f"{texts:,} texts"] if type(texts) is int and texts else [])])


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _known(store: Store, kinds: Sequence[str] | None) -> None:
    """Refuse a kind of result that there is not.

    Raises:
        UnknownNameError: There is no such kind.
    """
    legal = {*_KINDS, *(entry.kind for entry in store.entries())} if kinds else ()
    for kind in kinds or ():
        if kind not in legal:
            raise UnknownNameError("kind", kind, legal)


@cache_app.command("show")
@reported
def show_entry(
    key: Annotated[str, typer.Argument(help="The key, or its beginning.", show_default=False)],
    cache_dir: o.CacheDir = None,
    debug: o.Debug = False,
) -> None:
    """Show the manifest of a stored result (run.json)."""
    entry = o.store_at(cache_dir).match(key)
    if not entry.manifest:
        raise DataError(
            f"{entry.kind}/{entry.key} has no {RUN_FILE} that can be read: it is {entry.state}. "
            "'charkit verify' names what is damaged, 'charkit cache prune --damaged' removes it."
        )
    typer.echo(json.dumps(dict(entry.manifest), indent=2, sort_keys=True))


@cache_app.command("prune")
@reported
@o.takes_options
def prune_entries(
    older: Annotated[
        str | None, typer.Option("--older", help="Only results older than this, such as 30d.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind. May be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only what 'charkit verify' finds a problem in.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    cache_dir: o.CacheDir = None,
    *,
    show: o.ShowOptions,
) -> None:
    """Remove stored results; what is in use stays."""
    output = show.output()
    if older is None and not kinds and not everything and not damaged:
        raise UsageError(
            "nothing chosen: expected --older, --kind, --damaged or --all, got none of them."
        )
    store = o.store_at(cache_dir)
    _known(store, kinds)
    removed = store.prune(
        older_than_s=None if older is None else seconds_of(older),
        kinds=kinds,
        only_damaged=damaged,
        dry_run=dry_run,
    )
    rows = [{"kind": e.kind, "key": e.key, "state": e.state} for e in removed]
    freed = sum(e.n_bytes for e in removed)
    output.rows(rows, key="removed", extra={"freed_bytes": freed})
    verb = "would remove" if dry_run else "removed"
    output.note(f"{verb} {len(rows)} entries, {_size(freed)}")


@reported
@o.takes_options
def verify(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys to check. Default: all.", show_default=False)
    ] = None,
    cache_dir: o.CacheDir = None,
    *,
    show: o.ShowOptions,
) -> None:
    """Check stored results against their manifests: files, sizes, hashes, keys."""
    output = show.output()
    from charkit.api import verify as verify_store
    from charkit.cli.show import progress_shown

    store = o.store_at(cache_dir)
    full = [store.match(key).key for key in keys] if keys else None
    with progress_shown(output) as progress:
        problems = verify_store(full, store=store, progress=progress)
    rows = [{"kind": p.kind, "key": p.key, "problem": p.message} for p in problems]
    output.rows(rows, key="problems", extra={"n_problems": len(rows)})
    if problems:
        raise DataError(
            f"{len(problems)} problems in {store.root}: expected none. Remove the entries with "
            "'charkit cache prune --damaged'; what is needed again is made anew."
        )
    output.note(f"no problem in {store.root}")


@reported
@o.takes_options
def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of results: what estimate --out, sweep --out or a study wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=o.path, help="The file. Default: report.html in the folder."),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="What stands above the page. Default: the run's name."),
    ] = None,
    *,
    show: o.ShowOptions,
) -> None:
    """Write one HTML file from a folder of results; it opens without a network.

    Example: charkit report results --title "GLUE pilot"
    """
    output = show.output()
    from charkit.report.pages.run import write_report

    place = write_report(run, out=out, title=title)
    rows = [{"file": str(place), "bytes": place.stat().st_size}]
    output.rows(rows, key="report", extra={})
