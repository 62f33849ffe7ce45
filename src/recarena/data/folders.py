"""Reads recipes from a project's folders; a mistake is an error that names the file, the key and the closest word."""

from __future__ import annotations

import os
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from recarena.contract.errors import DataError, did_you_mean
from recarena.data.recipes import Benchmark, Dataset


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
        return model.model_validate({**table, "name": path.stem}, context={"folder": (root / path).parent})
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
