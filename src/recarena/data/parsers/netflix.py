"""The Netflix Prize: an archive of one file per movie, each ``movie:`` and then ``user,rating,YYYY-MM-DD``."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.parsers import scan
from recarena.data.parsers.tables import lines_of, repeated
from recarena.data.raw import Raw

_KINDS = (scan.ID, scan.NUMBER, scan.INTEGER, scan.INTEGER, scan.INTEGER)


def training_set(body: bytes, where: str, encoding: str) -> Raw:
    """``training_set.tar``; rows by movie and then as in the movie's file; times are the dates' midnights (UTC)."""
    columns: list[list[Any]] = [[], [], [], []]
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            files = sorted((m for m in archive.getmembers() if "mv_" in m.name and m.isfile()), key=lambda m: m.name)
            for member in files:
                text = archive.extractfile(member)
                if text is None:  # never for a plain file
                    continue
                for column, found in zip(
                    columns, _movie(text.read(), f"{where}, {member.name}", encoding), strict=True
                ):
                    column.append(found)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{where}: cannot be unpacked: {error}; the archive is cut off: fetch it again") from error
    if not files:
        raise DataError(f"{where}: the archive holds no mv_*.txt; expected one file per movie; fetch it again")
    user, item, value, time = (np.concatenate(column) for column in columns)
    again = repeated(user, item)
    if again is not None:
        raise DataError(f"{where}: user {user[again[1]]} rates movie {item[again[1]]} twice; expected each pair once")
    return Raw(user, item, value, time=time)


def _movie(body: bytes, where: str, encoding: str) -> tuple[Ints, Ints, Any, Ints]:
    head, _, rows = body.partition(b"\n")
    movie = head.strip().removesuffix(b":")
    if not head.strip().endswith(b":") or not movie.isdigit():
        raise DataError(
            f'{where}, line 1: "{head[:40].decode(encoding, "replace")}", expected a movie\'s number and ":"'
        )
    found: Any = scan.scan(rows.replace(b"-", b","), 0, _KINDS, b",") if rows.strip() else None
    if found is None:
        _blame(rows, where, encoding)
    user, value, year, month, day = found
    time = _midnight(year, month, day)
    if time.min() < 0 or month.min() < 1 or month.max() > 12 or day.min() < 1 or day.max() > 31:
        _blame(rows, where, encoding)
    return user.astype(np.int32), np.full(len(user), int(movie), np.int32), value, time


def _midnight(year: Ints, month: Ints, day: Ints) -> Ints:
    """Seconds since 1970 (UTC), (n,)."""
    months = (year - 1970) * 12 + month - 1
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + day - 1
    return np.asarray(days * 86400)


def _blame(rows: bytes, where: str, encoding: str) -> None:
    """Raise for the first row that is not ``user,rating,YYYY-MM-DD``."""
    for number, line in enumerate(rows.decode(encoding, "replace").removesuffix("\n").split("\n"), start=2):
        try:
            user, rating, date = line.rstrip("\r").split(",")
            plain = user.isdigit() and np.isfinite(float(rating)) and np.datetime64(date, "D") >= np.datetime64(0, "D")
        except ValueError:
            plain = False
        if not plain:
            raise DataError(
                f'{where}, line {number}: "{line[:60]}", expected user,rating,YYYY-MM-DD from 1970 on; the file is '
                "damaged"
            )
    raise DataError(f"{where}: a rating or a date is not written plainly; expected user,rating,YYYY-MM-DD")


def movie_titles(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """``movie,year,title``; a title may hold commas."""
    titles: dict[Any, str] = {}
    for number, line in enumerate(lines_of(body, where, encoding), start=1):
        cells = line.split(",", 2)
        if len(cells) < 3 or not cells[0].isdigit():
            raise DataError(f'{where}, line {number}: "{line[:60]}", expected movie,year,title')
        titles[int(cells[0])] = cells[2].strip()
    return titles
