"""UTF-8, or the encoding that the bytes look like: what to do depends on which it is."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from charkit.config import printable
from charkit.errors import DataError
from charkit.tasks.files.content import UTF8_BOM

_HIGH_RUN = re.compile(rb"[\x80-\xff]+")

# Runs of bytes beyond ASCII that are looked at.
_SAMPLE = 4_000

_MANY_BYTES = {"cp932": "CP932", "gb18030": "GB18030", "big5": "BIG5", "euc_kr": "EUC-KR",
               "euc_jp": "EUC-JP"}  # fmt: skip
_TITLES = {"CP1252": "Windows-1252", "CP1250": "Windows-1250 (Central Europe)",
           "CP1251": "Windows-1251 (Cyrillic)", "KOI8-R": "KOI8-R (Cyrillic)",
           "CP932": "Shift-JIS (Japanese)", "GB18030": "GBK (Chinese)", "BIG5": "Big5 (Chinese)",
           "EUC-KR": "EUC-KR (Korean)", "EUC-JP": "EUC-JP (Japanese)",
           "CP1253": "Windows-1253 (Greek)", "CP1254": "Windows-1254 (Turkish)",
           "CP1255": "Windows-1255 (Hebrew)", "CP1256": "Windows-1256 (Arabic)",
           "CP874": "Windows-874 (Thai)", "CP850": "CP850 (DOS)",
           "MACINTOSH": "Mac Roman"}  # fmt: skip


def refuse_binary(raw: bytes, where: str) -> None:
    """Refuse UTF-16, UTF-32, and zero bytes.

    Raises:
        DataError: What it is, with a command that mends it.
    """
    marks = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"),
             (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))  # fmt: skip
    for mark, name in marks:
        if raw.startswith(mark):
            raise DataError(
                f"{where}: expected UTF-8, got {name} (mark at byte 0). Convert it: "
                f"iconv -f {name} -t UTF-8 old > new."
            )
    if b"\0" not in raw:
        return
    head = raw[:4096]
    half = len(head) // 2
    for start, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if half and head[start::2].count(0) > 0.6 * half and head[1 - start :: 2].count(0) == 0:
            raise DataError(
                f"{where}: expected UTF-8, got UTF-16 without a mark (every second byte is zero). "
                f"Convert it: iconv -f {name} -t UTF-8 old > new."
            )
    at = raw.index(0)
    count = raw.count(0)
    controls = sum(raw[:4096].count(byte) for byte in (*range(9), *range(14, 27)))
    if controls > max(16, len(head) // 20):
        raise DataError(
            f"{where}: expected text in UTF-8, got a binary file (zero byte at byte {at}). "
            "Give the file that holds the texts."
        )
    raise DataError(
        f"{where}, line {raw.count(10, 0, at) + 1}: expected text in UTF-8, got a zero byte at "
        f"byte {at} ({count} in the file). Remove it: tr -d '\\000' < old > new."
    )


def decode(raw: bytes, where: str) -> str:
    """Decode UTF-8 (a byte order mark is dropped).

    Raises:
        DataError: Another encoding; the message gives the offset of the first wrong byte.
    """
    refuse_binary(raw, where)
    start = len(UTF8_BOM) if raw.startswith(UTF8_BOM) else 0
    try:
        return raw[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(raw, start + error.start, where) from error


def not_utf8(raw: bytes, offset: int, where: str) -> DataError:
    """Return the refusal of bytes that are not UTF-8, with the advice that fits them."""
    line = raw.count(b"\n", 0, offset) + 1
    place = f"{where}: expected UTF-8, got byte 0x{raw[offset]:02x} at byte {offset} (line {line})."
    good, bad = _utf8_runs(raw)
    if good > bad:
        return DataError(
            f"{place} The rest of the file is UTF-8 ({good} places against {bad}): correct line "
            f"{line}, or drop such bytes: iconv -f UTF-8 -t UTF-8 -c old > new."
        )
    name = _looks_like(raw)
    if name is None:
        return DataError(
            f"{place} Which encoding it is cannot be seen. Open it with the program that wrote it "
            "and save it as UTF-8."
        )
    begin = max(raw.rfind(b"\n", 0, offset) + 1, offset - 25)
    end = raw.find(b"\n", offset)
    piece = raw[begin : min(len(raw) if end < 0 else end, offset + 25)]
    codec = _PYTHON.get(name, name)
    shown = printable(piece.decode(codec, "replace").strip().replace("\ufffd", "?"), longest=50)
    return DataError(
        f"{place} It looks like {_TITLES[name]}, in which it reads '{shown}'. If that is right, "
        f"convert it: iconv -f {name} -t UTF-8 old > new. If not, save it as UTF-8 with the "
        "program that wrote it."
    )


def _utf8_runs(raw: bytes) -> tuple[int, int]:
    """Return how many runs of bytes beyond ASCII are UTF-8, and how many are not."""
    good = bad = 0
    for found in _HIGH_RUN.finditer(raw):
        try:
            found.group().decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
        if good + bad >= _SAMPLE:
            break
    return good, bad


def _looks_like(raw: bytes) -> str | None:
    """Guess the encoding from how bytes beyond ASCII stand together.

    Letters of Western languages beyond ASCII stand one by one between others, those of Cyrillic
    and Greek fill words, and those of East Asian encodings come in pairs.
    """
    runs = [m.group() for _, m in zip(range(_SAMPLE), _HIGH_RUN.finditer(raw), strict=False)]
    n_high = sum(map(len, runs))
    if n_high < 2 * len(runs):
        return _western(raw, runs)
    asian = _east_asian(raw)
    if asian is not None:
        return asian
    other = _by_bytes(b"".join(runs))
    if other is not None:
        return other
    letters = sum(0xC0 <= b <= 0xFF for run in runs for b in run)
    return _alphabet(runs) if letters > 0.7 * n_high else _western(raw, runs)


def _alphabet(runs: list[bytes]) -> str:
    """Return the alphabet that gives the fewest capitals, above all after small letters."""

    def oddness(codec: str) -> int:
        words = [run.decode(codec, "replace") for run in runs]
        after = sum(a.islower() and b.isupper() for w in words for a, b in pairwise(w))
        return 2 * after + sum(not c.islower() for w in words for c in w)

    return min(("CP1251", "KOI8-R", "CP1253"), key=oddness)


def _by_bytes(high: bytes) -> str | None:
    """Return Thai, Arabic or Hebrew by bytes that texts in other alphabets hardly have.

    Thai fills 0xA1 to 0xBF, where Windows has signs. In Arabic the two letters of the article are
    a quarter of all. Hebrew has neither capitals nor letters beyond 0xFA.
    """
    count = Counter(high)
    n = len(high)
    thai = sum(count[b] for b in range(0xA1, 0xC0)) > 0.25 * n
    if thai and not any(count[b] for b in (*range(0x80, 0xA0), *range(0xDB, 0xDF))):
        return "CP874"
    if count[0xC7] + count[0xE1] > 0.15 * n:
        return "CP1256"
    letters = sum(count[b] for b in range(0xE0, 0xFB))
    if n > 30 and letters > 0.95 * n and not any(count[b] for b in range(0xFB, 0x100)):
        return "CP1255"
    return None


def _east_asian(raw: bytes) -> str | None:
    """Return the encoding that gives the most frequent kinds of characters, if one fits."""
    scores = {}
    found = _HIGH_RUN.search(raw)
    begin = max(0, (found.start() if found else 0) - 200)
    sample = raw[begin : begin + 60_000]
    sample = sample[sample.find(b"\n") + 1 if begin else 0 : sample.rfind(b"\n") + 1 or None]
    for codec, name in _MANY_BYTES.items():
        try:
            text = sample.decode(codec)
        except UnicodeDecodeError:
            continue
        beyond = [c for c in text if ord(c) > 127]
        if beyond:
            scores[name] = sum(_frequency(c, name) for c in beyond) / len(beyond)
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0.5 else None


def _frequency(c: str, name: str) -> float:
    """Return how often a character is expected in texts of an encoding's language, roughly."""
    if "\uac00" <= c <= "\ud7a3":
        return 1.0 if name == "EUC-KR" else 0.0
    if "\u3040" <= c <= "\u30ff":
        return 1.0 if name in ("CP932", "EUC-JP") else 0.2
    if "\u4e00" <= c <= "\u9fff":
        return 0.0 if name == "EUC-KR" else (1.0 if c in _COMMON_HAN else 0.6)
    return 0.8 if "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uff60" else 0.0


_COMMON_HAN = frozenset(
    "的一是不了在人有我他这個个们中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于着下自之年过過发發后後作里用道行所然家种事成方多"
    "好很这這没没有看什么麼吃味服务務电影電差错太真非常喜欢歡店品质質价價格便宜买買东東西"
)


def _western(raw: bytes, runs: list[bytes]) -> str | None:
    """Return Windows-1252, of which Latin-1 is a part, or its Central European neighbour."""
    used = set(b"".join(runs))
    old = _before_windows(raw, runs)
    if old is not None:
        return old
    turkish = sum(run.count(b) for run in runs for b in (0xF0, 0xFD, 0xFE, 0xDD, 0xDE, 0xD0))
    if turkish > len(runs) / 3 and not used & {0xE1, 0xE6, 0xED, 0xF3, 0xFA}:
        return "CP1254"  # Icelandic letters there, without the vowels of Icelandic
    inside = re.findall(rb"[A-Za-z\xc0-\xff][\xa1-\xbf]+(?=[A-Za-z\xc0-\xff])", raw)
    if len(inside) > 1 and len(inside) > len(runs) // 5:
        return "CP1250"  # signs of Windows-1252 inside words are letters there
    if used & {0x81, 0x8D, 0x8F, 0x90, 0x9D}:
        return None  # not used in Windows-1252
    return "CP1252"


# Letters beyond ASCII of Western languages, inside words.
_LETTERS = frozenset("àâäåáãæçèéêëìíîïñòóôöõøùúûüßœ")


def _before_windows(raw: bytes, runs: list[bytes]) -> str | None:
    """Return DOS or the old Mac where bytes that are signs in Windows-1252 stand inside words."""
    inside = re.findall(rb"(?<=[A-Za-z])[\x80-\x9f](?=[A-Za-z])", raw)
    if len(inside) < 2 or len(inside) <= len(runs) // 3:
        return None

    def n_letters(codec: str) -> int:
        return sum(c in _LETTERS for run in runs for c in run.decode(codec, "replace"))

    return "CP850" if n_letters("CP850") > n_letters("mac_roman") else "MACINTOSH"


# Names of iconv that Python has otherwise.
_PYTHON = {"MACINTOSH": "mac_roman"}
