"""From a dataset's recipe to its checked rows, through the cache of parsed arrays."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.data import parsers
from recarena.data.coding import n_distinct
from recarena.data.raw import Candidates, Raw
from recarena.data.recipes import Dataset, FileSource, InlineSource, MirrorSource, Source, UserFile, parts
from recarena.data.sides import Side
from recarena.data.sources import (
    CACHE,
    MIRROR,
    Fetched,
    Say,
    at_hand,
    default_cache,
    describe,
    doubt,
    fetch,
    held,
    in_order,
    lacks,
    lock,
    mirror_folder,
    to_stderr,
    trust,
    trusted,
)


@dataclass(frozen=True)
class Loaded:
    """The rows of a dataset and the source they came from, in words."""

    raw: Raw
    source: str


@dataclass(frozen=True)
class Availability:
    """Whether a dataset can be had here.

    Attributes:
        state: "ready" (no network needed), "download" (needs the network once) or "blocked".
        why: the source that would be used, or why there is none.
    """

    state: Literal["ready", "download", "blocked"]
    why: str


def load(
    dataset: Dataset,
    cache: Path | None = None,
    *,
    needs: Collection[str] = (),
    progress: bool = False,
    say: Say = to_stderr,
) -> Loaded:
    """Return a dataset's rows, checked against the recipe's counts and fingerprint.

    Args:
        dataset: the recipe.
        cache: folder for downloads and parsed arrays; the default one if None.
        needs: what the source must give: "time", "order" (``Benchmark.needs``).
        progress: draw a bar while downloading.
        say: is told the licence before a download, and why a source was passed over.

    Raises:
        DataError: no source can be had, or a file is not what the recipe says.
    """
    cache = cache or default_cache()
    for source in _parsed_first(dataset, cache, needs):
        raw = _read_parsed(_parsed_path(dataset, source, cache))
        if raw is not None:
            return Loaded(_expected(dataset, raw, source), describe(source))
    fetched = fetch(dataset, cache, needs=needs, progress=progress, say=say)
    source = fetched.source
    try:
        raw = _expected(dataset, _parse(dataset, fetched), source)
    except DataError as error:
        raise DataError(f"{error}{doubt(dataset, source, cache)}") from error
    trust(dataset, source, cache, say)
    if not isinstance(source, InlineSource | FileSource):  # a file of the user's may change
        _write_parsed(_parsed_path(dataset, source, cache), raw)
    return Loaded(raw, describe(source))


@dataclass(frozen=True)
class Verified:
    """Whether one source that is at hand is what the recipe says; ``why`` is the error, or what was read."""

    source: str
    good: bool
    why: str


def verify(dataset: Dataset, cache: Path | None = None, *, say: Say = to_stderr) -> list[Verified]:
    """Hold every source that is at hand against its checksums and the recipe; parsed arrays are not believed."""
    cache = cache or default_cache()
    verified = []
    for source in in_order(dataset):
        if not at_hand(dataset, source, cache):
            continue
        try:
            raw = _expected(dataset, _parse(dataset, Fetched(source, held(dataset, source, cache, say))), source)
            trust(dataset, source, cache, say)
            verified.append(Verified(describe(source), True, f"{len(raw):,} rows"))
        except DataError as error:
            verified.append(Verified(describe(source), False, str(error)))
    return verified


def availability(dataset: Dataset, cache: Path | None = None, *, needs: Collection[str] = ()) -> Availability:
    """Say whether a dataset can be had here and how, without fetching or reading anything."""
    cache = cache or default_cache()
    reasons: list[str] = []
    download: Source | None = None
    for source in in_order(dataset):
        lacking = lacks(source, needs)
        if lacking:
            reasons.append(f"{describe(source)} {lacking}")
        elif at_hand(dataset, source, cache) or (
            not isinstance(source, MirrorSource | FileSource) and _parsed_path(dataset, source, cache).is_file()
        ):
            return Availability("ready", describe(source))
        elif isinstance(source, MirrorSource):
            folder = mirror_folder()
            reasons.append(f"{MIRROR} is not set" if folder is None else "the mirror does not hold its files")
        elif isinstance(source, FileSource):
            reasons.append(f"there is no file {source.ratings.path}")
        else:
            download = download or source
    if download is not None:
        return Availability("download", describe(download))
    return Availability("blocked", "; ".join(reasons))


def _parse(dataset: Dataset, fetched: Fetched) -> Raw:
    source = fetched.source
    if isinstance(source, InlineSource):
        return parsers.inline(source.rows, f"datasets/{dataset.name}.toml", source.test, source.candidates)
    raw: Raw | None = None
    for part, recipe in parts(source).items():
        file = fetched.files[part]
        body = file.read()
        if part == "titles":
            titles = parsers.TITLE_PARSERS[recipe.parser](body, file.name, recipe.encoding)
            raw = replace(raw, titles=titles) if raw is not None else None
        elif part in ("users", "items"):
            side = parsers.SIDE_PARSERS[recipe.parser](body, file.name, recipe.encoding)
            if raw is not None:
                raw = replace(raw, users=side) if part == "users" else replace(raw, items=side)
        elif raw is None and isinstance(recipe, UserFile) and recipe.columns is not None:
            columns = recipe.columns.model_dump(exclude_none=True)
            raw = parsers.table(body, file.name, recipe.encoding, columns=columns, separator=recipe.separator)
        elif raw is None:
            raw = parsers.PARSERS[recipe.parser](body, file.name, recipe.encoding)
        else:
            raw = parsers.MORE_PARSERS[recipe.parser](body, file.name, recipe.encoding, raw)
    assert raw is not None  # noqa: S101 - every source has ratings
    return raw


def _expected(dataset: Dataset, raw: Raw, source: Source) -> Raw:
    """Raise unless the rows are what the recipe expects; the same from every source."""
    want = dataset.expect
    found: dict[str, int | str] = {
        "users": n_distinct(raw.user),
        "items": n_distinct(raw.item),
        "interactions": len(raw),
    }
    wanted: dict[str, int | str] = {"users": want.users, "items": want.items, "interactions": want.interactions}
    if want.sha256 is not None:
        found["sha256"], wanted["sha256"] = raw.sha256(), want.sha256
    if raw.time is not None and want.time_sha256 is not None:
        found["time_sha256"], wanted["time_sha256"] = raw.time_sha256() or "", want.time_sha256
    for part, side, sha256 in (("users", raw.users, want.users_sha256), ("items", raw.items, want.items_sha256)):
        if side is not None and sha256 is not None:
            found[f"{part}_sha256"], wanted[f"{part}_sha256"] = side.sha256(), sha256
    for key, value in wanted.items():
        if found[key] != value:
            raise DataError(
                f"datasets/{dataset.name}.toml: from {describe(source)}: {key} is {found[key]}, expected {value}; "
                "the source or its parser has changed: mend the recipe only if the new data are what the papers used"
            )
    return raw


def _parsed_first(dataset: Dataset, cache: Path, needs: Collection[str]) -> list[Source]:
    """The sources whose parsed arrays may stand for a fetch.

    Where a usable mirror is set only the mirror's own arrays may: it comes first, and it may be another source's turn
    only after it failed.
    """
    usable: list[Source] = [
        s for s in in_order(dataset) if not isinstance(s, InlineSource | FileSource) and not lacks(s, needs)
    ]
    if mirror_folder() is not None and usable and isinstance(usable[0], MirrorSource):
        return usable[:1] if at_hand(dataset, usable[0], cache) else usable[1:]
    return [s for s in usable if not isinstance(s, MirrorSource)]


_OPTIONAL = ("value", "time", "order", "part")  # columns that not every source has


def _parsed_path(dataset: Dataset, source: Source, cache: Path) -> Path:
    """Where the parsed arrays of a source lie: named by its checksums, also trusted ones, its parsers and version."""
    names = [str(parsers.VERSION), source.model_dump_json(), *trusted(dataset, source, cache)]
    digest = hashlib.sha256(":".join(names).encode()).hexdigest()
    return cache / dataset.name / f"parsed-{digest[:20]}.npz"


def _read_parsed(path: Path) -> Raw | None:
    """Read parsed arrays, or None where there are none or the file is damaged: then they are made again."""
    try:
        # The zip archive's own checksums are verified while reading. The file is opened here, because numpy would
        # leave it open where the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            frozen = None
            if "asked" in arrays:
                frozen = Candidates(arrays["asked"], Ragged(arrays["offsets"], arrays["candidates"]))
            return Raw(
                user=arrays["user"],
                item=arrays["item"],
                **{name: arrays.get(name) for name in _OPTIONAL},
                candidates=frozen,
                titles=dict(zip(arrays["title_item"].tolist(), arrays["title"].tolist(), strict=True)),
                users=_side(arrays, "users."),
                items=_side(arrays, "items."),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _side(arrays: Mapping[str, Any], at: str) -> Side | None:
    found = {name.removeprefix(at): arrays[name] for name in arrays if name.startswith(at)}
    return Side.from_arrays(found) if found else None


def _write_parsed(path: Path, raw: Raw) -> None:
    """Write parsed arrays in one step, so that no reader ever sees half of them."""
    arrays: dict[str, Any] = {"user": raw.user, "item": raw.item}
    arrays |= {name: column for name in _OPTIONAL if (column := getattr(raw, name)) is not None}
    if raw.candidates is not None:
        frozen = raw.candidates
        arrays |= {"asked": frozen.user, "offsets": frozen.item.offsets, "candidates": frozen.item.values}
    arrays |= {"title_item": np.array(list(raw.titles)), "title": np.array(list(raw.titles.values()), dtype=str)}
    for at, side in (("users", raw.users), ("items", raw.items)):
        if side is not None:
            arrays |= {f"{at}.{name}": array for name, array in side.arrays().items()}
    with lock(path):
        temporary = path.with_name(path.name + ".tmp")  # the lock is ours, so the name is
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)  # no column is of objects, so nothing is pickled
            temporary.replace(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written: {error}; make room, or set {CACHE} to another folder"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
