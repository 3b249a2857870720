"""What Windows and macOS do otherwise, faked: files, folders, locks, names, encodings."""

import ast
import errno
import os
from pathlib import Path

import pytest

from charkit.report.figures.canvas import file_name
from charkit.store import durable
from charkit.store.store import Store

ROOT = Path(__file__).parents[2]
PACKAGES = ("charkit", "glue_pilot", "metamodel")


class Windows:
    """Stands for ``os`` in a module: as there, with files that others have open for a while."""

    name = "nt"
    O_BINARY = 0

    def __init__(self, busy=0):
        self._writable = {}
        self.busy = busy

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, *rest):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = os.open(path, flags, *rest)
        self._writable[descriptor] = bool(flags & (os.O_RDWR | os.O_WRONLY))
        return descriptor

    def fsync(self, descriptor):
        if not self._writable.get(descriptor, True):
            raise OSError(errno.EBADF, "Bad file descriptor")
        os.fsync(descriptor)

    def replace(self, source, target):
        if self.busy:
            self.busy -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        os.replace(source, target)


@pytest.fixture
def windows(monkeypatch):
    fake = Windows()
    monkeypatch.setattr(durable, "os", fake)
    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    return fake


def test_a_result_can_be_stored_on_windows(windows, tmp_path):
    store = Store(tmp_path / "store")
    store.put("heads", "abc", {"a.txt": b"one"}, {})
    assert (store.find("heads", "abc", deep=True) / "a.txt").read_bytes() == b"one"
    assert store.verify() == []
    assert [e.key for e in store.prune()] == ["abc"]


def test_a_file_that_is_open_elsewhere_for_a_moment_is_waited_for(windows, tmp_path):
    place = tmp_path / "a.txt"
    place.write_bytes(b"old")
    windows.busy = 3
    durable.write_whole(place, b"new")
    assert place.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_stays_open_is_a_refusal_and_no_litter(windows, tmp_path):
    place = tmp_path / "a.txt"
    place.write_bytes(b"old")
    windows.busy = 1000
    with pytest.raises(durable.MissingError, match="Access is denied"):
        durable.write_whole(place, b"new")
    assert place.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_elsewhere_a_refusal_is_not_tried_again(monkeypatch, tmp_path):
    fake = Windows(busy=1)
    fake.name = "posix"
    monkeypatch.setattr(durable, "os", fake)
    with pytest.raises(durable.MissingError):
        durable.write_whole(tmp_path / "a.txt", b"new")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_serves(monkeypatch, tmp_path, number):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.os, "fsync", refuse)
    durable.fsync(tmp_path)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match=os.strerror(number)):
        durable.fsync(tmp_path / "a")


def test_no_file_can_be_synced_that_is_open_for_reading_alone(tmp_path):
    """The fake tells the fault that it is there for."""
    fake, path = Windows(), tmp_path / "a"
    path.write_bytes(b"")
    descriptor = fake.open(path, os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        fake.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("name", ["con", "CON", "aux.txt", "NUL", "com1", "LPT9.v2", "prn."])
def test_names_that_windows_keeps_for_devices_are_not_used(name):
    shown = file_name(name)
    assert shown.startswith("_")
    assert not shown.endswith(".")


@pytest.mark.parametrize(
    "name", ["console", "auxiliary", "what? is: this*", "a" * 300, "cafe\u0301"]
)
def test_names_of_figures_suit_every_file_system(name):
    shown = file_name(name)
    assert len(shown) <= 61
    assert not set(shown) & set('<>:"/\\|?* ')
    assert shown.isascii()


def test_cores_are_counted_where_there_is_no_affinity(monkeypatch):
    from charkit.store import manifest

    monkeypatch.delattr(manifest.os, "sched_getaffinity", raising=False)
    assert manifest.available_cores() >= 1


def test_a_system_without_sighup_and_signal_masks_serves(monkeypatch):
    import signal

    from charkit.cli.ending import stoppable

    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    with stoppable():
        pass


def calls(path):
    return (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call))


def unencoded(call):
    """Tell whether a call opens text in the encoding of the country."""
    of = call.func
    name = of.attr if isinstance(of, ast.Attribute) else getattr(of, "id", "")
    words = {k.arg: ast.unparse(k.value) for k in call.keywords}
    if name == "read_text":
        return "encoding" not in words and not call.args
    if name == "write_text":
        return "encoding" not in words and len(call.args) < 2
    if name in {"run", "Popen", "check_output"}:
        return "encoding" not in words and bool({"text", "universal_newlines"} & set(words))
    if isinstance(of, ast.Name) and name == "open":
        mode = words.get("mode") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "'r'")
        return "b" not in mode and "encoding" not in words
    return False


def test_every_text_file_is_opened_with_an_encoding():
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for call in calls(path)
        if unencoded(call)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("open('a')", True),
        ("open('a', 'rb')", False),
        ("open('a', encoding='utf-8')", False),
        ("p.read_text()", True),
        ("p.write_text('a', encoding='utf-8')", False),
        ("subprocess.run(['a'], text=True)", True),
    ],
)
def test_the_rule_for_encodings_finds_what_it_looks_for(code, bad):
    (call,) = (n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call))
    assert unencoded(call) is bad


def test_nothing_of_unix_alone_is_imported_at_the_top():
    unix = {"fcntl", "pwd", "grp", "resource", "termios"}
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text("utf-8")).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                found += [f"{path.name}: {n}" for n in names if n in unix]
    assert found == []
