"""Sources: from a dataset's recipe to checked files on this machine. Nothing here reads what is inside them.

A file that is not exactly what the recipe says is an error that leaves nothing behind; a source that cannot be
reached is noted and the next one tried.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from recarena.contract.errors import DataError
from recarena.data.recipes import Dataset, FileSource, InlineSource, MirrorSource, Source, UrlSource, WheelSource, parts

Say = Callable[[str], None]
MIRROR = "RECARENA_MIRROR"
CACHE = "RECARENA_CACHE"
_CHUNK_BYTES = 1 << 14  # what a broken connection loses at most


@dataclass(frozen=True)
class Located:
    """A checked file, or a member of a checked archive.

    Attributes:
        path: the file itself.
        member: path inside the zip archive, or None.
        name: as messages print it, without this machine's folders.
    """

    path: Path
    member: str | None
    name: str

    def read(self) -> bytes:
        """Return the bytes, out of the archive or unpacked where there is one; nothing is extracted to disk."""
        try:
            if self.member is not None and self.path.name.endswith((".tar", ".tar.gz", ".tgz")):
                with tarfile.open(self.path) as archive:
                    return _read_member(archive, self.member)
            if self.member is not None:
                with zipfile.ZipFile(self.path) as zipped:
                    return zipped.read(self.member)
            if self.path.suffix == ".gz":
                with gzip.open(self.path) as packed:
                    return packed.read()
            return self.path.read_bytes()
        except KeyError:
            raise DataError(
                f'{self.name}: the archive holds no member "{self.member}"; mend "member" in the dataset\'s recipe'
            ) from None
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            gzip.BadGzipFile,
            EOFError,
            zlib.error,
            RuntimeError,  # a zip archive with a password
            NotImplementedError,  # or packed in a way that Python cannot unpack
        ) as error:
            raise DataError(f"{self.name}: cannot be unpacked: {error}; the recipe names the wrong file") from error


def _read_member(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise KeyError(member)  # a folder or a link
    return file.read()


@dataclass(frozen=True)
class Fetched:
    """What a source gave: the source, and its files by what they hold (``recipes.parts``)."""

    source: Source
    files: Mapping[str, Located]


class Unreachable(Exception):
    """A source cannot be had here, with the reason; not yet an error: the next one is tried."""


def to_stderr(message: str) -> None:
    """Say something to the person at the terminal without mixing it into the output."""
    sys.stderr.write(message + "\n")


def default_cache() -> Path:
    """Return the folder for downloads and parsed arrays: RECARENA_CACHE if set, else the system's cache folder."""
    named = os.environ.get(CACHE)
    return Path(named).expanduser() if named else Path(pooch.os_cache("recarena"))


def mirror_folder() -> Path | None:
    """Return the folder named by RECARENA_MIRROR, or None where it is not set."""
    named = os.environ.get(MIRROR)
    return Path(named).expanduser() if named else None


def lacks(source: Source, needs: Collection[str]) -> str | None:
    """Return what a source lacks of what a benchmark needs, in words, or None; times imply an order."""
    has = set(source.gives) | ({"order"} if "time" in source.gives else set())
    has |= {part for part in ("users", "items") if getattr(source, part, None) is not None}
    words = {
        "time": "real times",
        "order": "an order of events",
        "users": "facts about users",
        "items": "facts about items",
    }
    missing = [words[need] for need in sorted(set(needs) - has)]
    return f"lacks {' and '.join(missing)}" if missing else None


def describe(source: Source) -> str:
    """Name a source for people."""
    match source:
        case UrlSource():
            return source.url
        case WheelSource():
            return f"package {source.package}"
        case MirrorSource():
            return f"mirror ({MIRROR})"
        case FileSource():
            return f"your file {source.ratings.path}"
        case InlineSource():
            return "the recipe itself"


def in_order(dataset: Dataset) -> list[Source]:
    """Return the sources in the order to try: the recipe's, but a mirror that is set on purpose comes first."""
    if mirror_folder() is None:
        return list(dataset.sources)
    return sorted(dataset.sources, key=lambda source: not isinstance(source, MirrorSource))


def at_hand(dataset: Dataset, source: Source, cache: Path) -> bool:
    """Whether a source's files are on this machine already; existence only, nothing is read or fetched."""
    match source:
        case InlineSource():
            return True
        case MirrorSource():
            folder = mirror_folder()
            return folder is not None and all((folder / file.path).is_file() for file in parts(source).values())
        case FileSource():
            return all(Path(file.path).is_file() for file in parts(source).values())
        case UrlSource() | WheelSource():
            return all(remote.path.is_file() for remote in _remotes(dataset, source, cache).values())


def fetch(
    dataset: Dataset,
    cache: Path,
    *,
    needs: Collection[str] = (),
    progress: bool = False,
    say: Say = to_stderr,
) -> Fetched:
    """Return the files of the first source that can be had and gives what is needed.

    A mirror that is set comes first, then whatever is in the cache already, then the recipe's order.

    Args:
        dataset: the recipe.
        cache: folder for downloads; safe for several processes at once.
        needs: what the source must give: "time", "order".
        progress: draw a bar on the terminal while downloading.
        say: is told the licence before a download, and why a source was passed over.

    Raises:
        DataError: a file is not what the recipe says, or no source can be had.
    """
    say = functools.cache(say)  # the licence once, however many sources are tried
    reasons: list[str] = []
    usable: list[Source] = []
    for source in in_order(dataset):
        lacking = lacks(source, needs)
        if lacking:
            reasons.append(f"{describe(source)}: {lacking}")
        else:
            usable.append(source)
    # a stable sort: the recipe's order otherwise
    mirror = mirror_folder() is not None
    usable.sort(key=lambda s: not (mirror if isinstance(s, MirrorSource) else at_hand(dataset, s, cache)))
    for source in usable:
        try:
            return Fetched(source, _files(dataset, source, cache, progress=progress, say=say))
        except Unreachable as reason:
            reasons.append(f"{describe(source)}: {reason}")
            if source is not usable[-1] and (mirror or not isinstance(source, MirrorSource)):
                say(f"{dataset.name}: {reasons[-1]}; trying the next source")
    raise DataError(
        f"{dataset.name}: no source can be had:\n"
        + "".join(f"  - {reason}\n" for reason in reasons)
        + f"connect to the network and run again, or set {MIRROR} to a folder that holds the dataset's files, or "
        f"download a file by hand into {cache / dataset.name}"
    )


def _files(dataset: Dataset, source: Source, cache: Path, *, progress: bool, say: Say) -> dict[str, Located]:
    match source:
        case InlineSource():
            return {}
        case MirrorSource():
            return _mirrored(dataset, source)
        case FileSource():
            return _own(dataset, source)
        case UrlSource() | WheelSource():
            remotes = _remotes(dataset, source, cache)
            for remote in dict.fromkeys(remotes.values()):
                with lock(remote.path):
                    _ensure(dataset, source, remote, progress=progress, say=say)
            members = {part: file.member for part, file in parts(source).items()}
            return {
                part: Located(remote.path, members[part], ", ".join(filter(None, [remote.path.name, members[part]])))
                for part, remote in remotes.items()
            }


def held(dataset: Dataset, source: Source, cache: Path, say: Say = to_stderr) -> dict[str, Located]:
    """Return a source's files that are ``at_hand``, held against their checksums; nothing is fetched or removed.

    Raises:
        DataError: a file is not the one that the recipe, or the first download, says.
    """
    if isinstance(source, UrlSource | WheelSource):
        for remote in dict.fromkeys(_remotes(dataset, source, cache).values()):
            got = sha256_of(remote.path)
            if remote.sha256 == "unknown":
                _hold_to_first(dataset, remote, got)
            elif got != remote.sha256:
                raise DataError(
                    f"{dataset.name}: {remote.path.name} in the cache has sha256 {got}, expected {remote.sha256}; it "
                    f"is damaged: `recarena data fetch {dataset.name}` fetches it again"
                )
    return _files(dataset, source, cache, progress=False, say=say)


@dataclass(frozen=True)
class _Remote:
    """One file to download: its place in the cache, its address (a wheel has none), and its checksum or "unknown"."""

    path: Path
    url: str
    sha256: str

    @property
    def remembered(self) -> Path:
        """Where the sum seen at the first download is kept, if the recipe has none."""
        return self.path.with_name(self.path.name + ".sha256")


def _remotes(dataset: Dataset, source: UrlSource | WheelSource, cache: Path) -> dict[str, _Remote]:
    """The download that each part of a source comes from; parts of one archive share it."""
    folder = cache / dataset.name
    if isinstance(source, WheelSource):
        return dict.fromkeys(parts(source), _Remote(folder / source.file, "", source.sha256))
    return {
        part: _Remote(folder / url.rpartition("/")[2], url, sha256)
        for part, (url, sha256) in source.addresses().items()
    }


def _ensure(dataset: Dataset, source: Source, remote: _Remote, *, progress: bool, say: Say) -> None:
    """Download a file unless it is in the cache, and hold it against its checksum; the caller holds the lock."""
    path = remote.path
    if path.is_file():
        got = sha256_of(path)
        if remote.sha256 == "unknown":
            _hold_to_first(dataset, remote, got)
            return
        if got == remote.sha256:
            return
        say(f"{dataset.name}: {path.name} in the cache is damaged; fetching it again")
        path.unlink()
    _announce(dataset, source, say)
    if not isinstance(source, WheelSource):
        _download(remote, progress=progress)
    else:
        _pip_download(source, path)
    if remote.sha256 == "unknown":
        _hold_to_first(dataset, remote, sha256_of(path))


def _hold_to_first(dataset: Dataset, remote: _Remote, got: str) -> None:
    """Raise if a file without a known checksum is not the one that was trusted before."""
    kept = remote.remembered
    if kept.is_file() and (first := kept.read_text(encoding="ascii").strip()) != got:
        raise DataError(
            f"{dataset.name}: {remote.path.name} has sha256 {got}, but the first download had {first}; the file has "
            f"changed: remove it to fetch it again, or remove {kept.name} beside it too if you trust the new one"
        )


def _untrusted(dataset: Dataset, source: Source, cache: Path) -> list[_Remote]:
    """The downloads of a source whose checksum neither the recipe nor an earlier use tells."""
    if not isinstance(source, UrlSource):
        return []
    remotes = dict.fromkeys(_remotes(dataset, source, cache).values())
    return [remote for remote in remotes if remote.sha256 == "unknown" and not remote.remembered.is_file()]


def trust(dataset: Dataset, source: Source, cache: Path, say: Say) -> None:
    """Trust on first use, once the rows are what the recipe expects: remember the sums that nobody knew, and show them.

    From then on any other file is refused.
    """
    for remote in _untrusted(dataset, source, cache):
        got = sha256_of(remote.path)
        with lock(remote.path):
            temporary = remote.remembered.with_name(remote.remembered.name + ".tmp")  # the lock is ours, so the name is
            temporary.write_text(got + "\n", encoding="ascii")
            temporary.replace(remote.remembered)
        say(
            f"{dataset.name}: {remote.path.name} has sha256 {got}\n"
            "  the recipe knows no checksum for it: this one is trusted from now on; compare it with somebody else's, "
            f"and write it into datasets/{dataset.name}.toml if you can"
        )


def doubt(dataset: Dataset, source: Source, cache: Path) -> str:
    """What to add to an error about rows that came from downloads no checksum speaks for; "" where there are none."""
    files = [str(remote.path) for remote in _untrusted(dataset, source, cache) if remote.path.is_file()]
    if not files:
        return ""
    return (
        f"\n  no checksum is known yet for {', '.join(files)}: look whether that is the file itself and not, say, a "
        "page that asks to log in; remove it to fetch it again"
    )


def trusted(dataset: Dataset, source: Source, cache: Path) -> list[str]:
    """Return the sums that stand for what the recipe does not know: those of the first downloads, where there were."""
    if not isinstance(source, UrlSource):
        return []
    remotes = dict.fromkeys(_remotes(dataset, source, cache).values())
    kept = [remote.remembered for remote in remotes if remote.sha256 == "unknown"]
    return [note.read_text(encoding="ascii").strip() for note in kept if note.is_file()]


def _mirrored(dataset: Dataset, source: MirrorSource) -> dict[str, Located]:
    folder = mirror_folder()
    if folder is None:
        raise Unreachable(f"{MIRROR} is not set")
    found: dict[str, Located] = {}
    for part, file in parts(source).items():
        path = folder / file.path
        if not path.is_file():
            raise Unreachable(f"the mirror holds no {file.path}")
        got = sha256_of(path)
        if got != file.sha256:
            raise DataError(
                f"{dataset.name}: {file.path} in the mirror has sha256 {got}, expected {file.sha256}; "
                f"copy the file again, or unset {MIRROR} to use another source"
            )
        found[part] = Located(path, None, file.path)
    return found


def _own(dataset: Dataset, source: FileSource) -> dict[str, Located]:
    found: dict[str, Located] = {}
    for part, file in parts(source).items():
        path = Path(file.path)
        if not path.is_file():
            raise Unreachable(f"there is no file {path}; mend its path in datasets/{dataset.name}.toml")
        if file.sha256 is not None and (got := sha256_of(path)) != file.sha256:
            raise DataError(
                f"{dataset.name}: {path} has sha256 {got}, expected {file.sha256}; the file has changed: put the "
                "old one back, or add it anew under another name"
            )
        found[part] = Located(path, None, path.name)
    return found


def _announce(dataset: Dataset, source: Source, say: Say) -> None:
    say(
        f"{dataset.title}\n"
        f"  homepage: {dataset.homepage}\n"
        f"  licence:  {' '.join(dataset.licence.split())}\n"
        f"  cite:     {' '.join(dataset.citation.split())}"
    )
    say(f"{dataset.name}: fetching from {describe(source)}")


def _download(remote: _Remote, *, progress: bool) -> None:
    """Download to a temporary name, check, then rename; what a broken connection left is taken up again next time."""
    pooch.get_logger().setLevel(logging.ERROR)  # `say` speaks for us
    path = remote.path
    part = path.with_name(path.name + ".part")
    known = None if remote.sha256 == "unknown" else f"sha256:{remote.sha256}"

    def resuming(url: str, output: str, _: object) -> None:
        _get(url, part, progress=progress, checked=known is not None)
        part.replace(output)
        part.with_name(part.name + ".version").unlink(missing_ok=True)

    try:
        pooch.retrieve(remote.url, known, fname=path.name, path=path.parent, downloader=resuming)
    except OSError as error:  # requests' exceptions are OSErrors
        kept = (
            f"; {part.stat().st_size:,} bytes are kept for the next try"
            if part.is_file() and part.stat().st_size
            else ""
        )
        raise Unreachable(f"{_first_line(error)}{kept}") from error
    except ValueError as error:
        raise DataError(
            f"{remote.url}: {error} Nothing was kept: run again; if it happens again, the file at that address has "
            "changed, and the recipe's sha256 must be looked at by a person"
        ) from error


def _get(url: str, part: Path, *, progress: bool, checked: bool) -> None:
    """Append what is missing to ``part``; a server that ignores the range sends everything, so start over.

    Where no checksum will tell, the halves must be of one version of the file: the server is told which version
    (``If-Range``), and what has no version is not taken up again.
    """
    note = part.with_name(part.name + ".version")
    have = part.stat().st_size if part.is_file() else 0
    version = note.read_text(encoding="utf-8") if have and note.is_file() else ""
    headers = {"Accept-Encoding": "identity"}  # ranges and lengths count the bytes of the file itself
    if have and (version or checked):
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as reply:
        if "Range" in headers and reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here already; the checksum decides
        reply.raise_for_status()
        resumed = reply.status_code == requests.codes.partial_content
        if not resumed:
            note.unlink(missing_ok=True)
            if named := _version(reply.headers):
                note.write_text(named, encoding="utf-8")
        chunks = reply.iter_content(_CHUNK_BYTES)
        size = int(reply.headers.get("Content-Length", 0))
        shown = track(
            chunks,
            description=part.name.removesuffix(".part"),
            total=-(-size // _CHUNK_BYTES) or None,
            console=Console(stderr=True),
            disable=not progress,
        )
        with part.open("ab" if resumed else "wb") as file:
            for chunk in shown:
                file.write(chunk)


def _version(headers: Mapping[str, str]) -> str:
    """What the server calls this version of the file, as ``If-Range`` wants it; "" if nothing."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _pip_download(source: WheelSource, path: Path) -> None:
    """Let pip fetch the package, so that the user's own index settings hold; the package is never installed."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="pip-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--only-binary=:all:", "--timeout=10", "--retries=1", "--dest", folder, source.package]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except subprocess.TimeoutExpired as error:
            raise Unreachable("pip did not finish within 600 seconds") from error
        got = Path(folder) / source.file
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise Unreachable(f"pip download failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
        if not got.is_file():
            found = sorted(p.name for p in Path(folder).iterdir())
            raise Unreachable(f"pip brought {found}, expected {source.file}")
        digest = sha256_of(got)
        if digest != source.sha256:
            raise DataError(
                f"{source.package}: {source.file} has sha256 {digest}, expected {source.sha256}; nothing was kept: "
                "the package index serves another file, ask its keeper or use another source"
            )
        got.replace(path)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock beside a file of the cache, making its folder first."""
    held = FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except OSError as error:
        raise DataError(
            f"the cache folder {path.parent} cannot be written to: {error}; set {CACHE} to another"
        ) from error
    try:
        yield
    finally:
        held.release()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    inner = getattr(error.args[0], "reason", None) if error.args else None  # urllib3's reason is the readable part
    text = str(inner or error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no reason given'}"
