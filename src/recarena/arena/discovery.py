"""Finds every implementation under ``reproductions/`` and reads its facts from the source, never by running it."""

from __future__ import annotations

import ast
import hashlib
import math
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recarena.contract.errors import ImplementationError, did_you_mean

SCRIPT_BLOCK = re.compile(r"(?m)^# /// script\s*$\s(?P<body>(^#(| .*)$\s)+)^# ///\s*$")
ASKS_BY_METHOD = {"rate": "rate", "rank": "rank", "detect": "detect"}
TEMPLATE = """\
@implementation(author="you")
@dataclass
class MyName:
    def fit(self, train: Train, run: Run) -> None: ...
    def rank(self, queries: RankQueries) -> Ints: ...
"""


@dataclass(frozen=True)
class Implementation:
    """One person's code for one paper, as its source tells it.

    Attributes:
        paper: the folder's name.
        who: the file's (or inner folder's) name.
        path: the file, or the folder with ``__init__.py``.
        shared: files of the paper's folder that it imports, such as ``_features.py``.
        class_name: the one class marked ``@implementation``.
        author: who wrote it.
        departs: declared departures from the paper.
        deterministic: the seed changes nothing.
        hyperparameters: name -> default.
        kinds: the kinds of ask it answers: "rate", "rank", "detect".
        imports: third-party top-level modules that it names.
        script: its PEP 723 block, or None where it runs in the house's own environment.
        code: sha256 of its source.
    """

    paper: str
    who: str
    path: Path
    shared: tuple[Path, ...]
    class_name: str
    author: str
    departs: tuple[str, ...]
    deterministic: bool
    hyperparameters: dict[str, Any]
    kinds: frozenset[str]
    imports: tuple[str, ...]
    script: dict[str, Any] | None
    code: str

    @property
    def name(self) -> str:
        """``paper/who``, as the command line takes it."""
        return f"{self.paper}/{self.who}"

    @property
    def kind(self) -> Literal["baseline", "implementation", "peer"]:
        """``baseline``, ``peer`` (somebody else's library, wrapped) or ``implementation``."""
        if self.paper == "baselines":
            return "baseline"
        return "peer" if self.who.endswith("_peer") else "implementation"


@dataclass
class Found:
    """What is under ``reproductions/``: the good, and the broken with the reason."""

    implementations: list[Implementation] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def select(self, names: list[str]) -> list[Implementation]:
        """Return the implementations named ``paper/who``, ``paper`` or ``paper/*``; all of them where none is named.

        Raises:
            ImplementationError: a name that is not there, or whose file is broken.
        """
        if not names:
            return self.implementations
        chosen: dict[str, Implementation] = {}
        for name in names:
            wanted = name.removesuffix("/*")
            hits = [i for i in self.implementations if wanted in (i.name, i.paper)]
            if not hits and wanted in self.broken:
                raise ImplementationError(self.broken[wanted])
            if not hits:
                known = [i.name for i in self.implementations] + list(self.broken)
                raise ImplementationError(f'no implementation "{name}" under reproductions/{did_you_mean(name, known)}')
            chosen |= {i.name: i for i in hits}
        return list(chosen.values())


def find(root: Path) -> Found:
    """Return every implementation under ``root/reproductions``, sorted by name."""
    found = Found()
    for paper in sorted(p for p in (root / "reproductions").iterdir() if p.is_dir() and p.name[0] not in "._"):
        for path in sorted(paper.iterdir()):
            entry = path / "__init__.py" if path.is_dir() else path
            if path.name[0] in "._" or entry.suffix != ".py" or not entry.exists():
                continue
            if path.is_dir() and path.with_suffix(".py").exists():
                found.broken[f"{paper.name}/{path.stem}"] = f"{path.name}/ and {path.name}.py share a name"
                continue
            try:
                found.implementations.append(read(path))
            except ImplementationError as error:
                found.broken[f"{paper.name}/{path.stem}"] = str(error)
    return found


def read(path: Path) -> Implementation:
    """Read one implementation's facts from its source.

    Raises:
        ImplementationError: no marked class, several, a default that is no literal, or a file that is not Python.
    """
    entry = path / "__init__.py" if path.is_dir() else path
    where = f"{path.parent.name}/{path.name}"
    try:
        source = entry.read_text(encoding="utf-8")
        tree = ast.parse(source, filename=where)
        shared = shared_files(path)
        imports = _third_party([*_sources(path), *shared])
    except SyntaxError as error:
        file = error.filename or where  # another file of the folder, or one that it shares
        raise ImplementationError(f"{file}:{error.lineno}: not valid Python: {error.msg}") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ImplementationError(f"{where}: cannot be read as UTF-8 Python: {error}") from error
    marked = [(n, mark) for n in tree.body if isinstance(n, ast.ClassDef) and (mark := _mark(n)) is not None]
    if len(marked) != 1:
        raise ImplementationError(
            f"{where}: {len(marked)} classes are marked @implementation(author=...), expected exactly one, such as\n\n"
            + TEMPLATE
        )
    node, mark = marked[0]
    facts = {kw.arg: _literal(kw.value, where, f"@implementation({kw.arg}=...)") for kw in mark.keywords if kw.arg}
    unknown = set(facts) - {"author", "departs", "deterministic"}
    if unknown:
        name = min(unknown)
        hint = did_you_mean(name, ["author", "departs", "deterministic"])
        raise ImplementationError(f'{where}:{mark.lineno}: @implementation has no argument "{name}"{hint}')
    if not isinstance(facts.get("author"), str):
        raise ImplementationError(f'{where}:{mark.lineno}: @implementation needs your name: author="..."')
    departs = facts.get("departs", ())
    if not isinstance(departs, tuple | list) or not all(isinstance(one, str) for one in departs):
        raise ImplementationError(f'{where}:{mark.lineno}: departs is a tuple of strings: departs=("{departs}",)')
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        raise ImplementationError(f"{where}:{node.lineno}: class {node.name} is no dataclass; add @dataclass above it")
    methods = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
    kinds = frozenset(kind for method, kind in ASKS_BY_METHOD.items() if method in methods)
    if "fit" not in methods or not kinds:
        raise ImplementationError(
            f"{where}:{node.lineno}: class {node.name} needs fit(self, train, run) and rate(self, queries) "
            f"or rank(self, queries); it has {', '.join(sorted(methods)) or 'no methods'}"
        )
    return Implementation(
        paper=path.parent.name,
        who=path.stem,
        path=path,
        shared=shared,
        class_name=node.name,
        author=facts["author"],
        departs=tuple(departs),
        deterministic=bool(facts.get("deterministic", False)),
        hyperparameters=_fields(node, where),
        kinds=kinds,
        imports=imports,
        script=script_block(source, where),
        code=code_hash(path, shared),
    )


def shared_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an implementation that it, or one of them, imports: ``from ._features import ...``.

    Their names begin with an underscore: what members of a paper share is nobody's implementation.

    Raises:
        ImplementationError: an import of a neighbour that is not there, or is a contender.
    """
    found: dict[str, Path] = {}
    waiting = [file for file in _sources(path) if file.suffix == ".py" and path in (file, file.parent)]
    while waiting:
        file = waiting.pop()
        up = 1 if file.parent == path.parent else 2  # from inside a folder, the neighbours are one step further
        for node in ast.walk(_parsed(file)):
            if not isinstance(node, ast.ImportFrom) or node.level != up:
                continue
            for name in [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]:
                neighbour = path.parent / f"{name}.py"
                if not name.startswith("_") or not neighbour.is_file():
                    raise ImplementationError(
                        f"{path.parent.name}/{file.name}:{node.lineno}: imports {name} of its own paper; expected a "
                        f"file such as {path.parent.name}/_{name.lstrip('_')}.py: only files whose names begin with an "
                        "underscore are shared"
                    )
                if name not in found:
                    found[name] = neighbour
                    waiting.append(neighbour)
    return tuple(found[name] for name in sorted(found))


def code_hash(path: Path, shared: Sequence[Path] = ()) -> str:
    """Return the sha256 of a file, or of every file of a folder with their names, and of what it shares."""
    total = hashlib.sha256()
    for file in [*_sources(path), *shared]:
        name = file.relative_to(path.parent).as_posix()
        total.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def settings(implementation: Implementation, overrides: dict[str, str]) -> dict[str, Any]:
    """Return the hyper-parameters with ``--set name=value`` applied, each of its default's type.

    Raises:
        ImplementationError: an unknown name, or a value that is not of the default's type.
    """
    values = dict(implementation.hyperparameters)
    for name, text in overrides.items():
        if name not in values:
            hint = did_you_mean(name, values)
            raise ImplementationError(f'{implementation.name} has no hyper-parameter "{name}"{hint}')
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, RecursionError):
            value = text
        default = values[name]
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not _is_setting(value) or (default is not None and type(value) is not type(default)):
            raise ImplementationError(
                f"{implementation.name}: --set {name}={text}: expected {type(default).__name__} "
                f"like its default {default!r}"
            )
        values[name] = value
    return values


def _sources(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=f"{file.parent.name}/{file.name}")


def _mark(node: ast.ClassDef) -> ast.Call | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            name = decorator.func
            if (isinstance(name, ast.Name) and name.id == "implementation") or (
                isinstance(name, ast.Attribute) and name.attr == "implementation"
            ):
                return decorator
    return None


def _literal(node: ast.expr, where: str, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise ImplementationError(
            f"{where}:{node.lineno}: {what} must be a literal (a number, a string, a tuple, None): "
            "the runner reads it without running the file"
        ) from error


def _fields(node: ast.ClassDef, where: str) -> dict[str, Any]:
    """Return the annotated class-level fields that have defaults: the hyper-parameters."""
    fields: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            raise ImplementationError(
                f"{where}:{statement.lineno}: {name} has no type, so it is no hyper-parameter: "
                f"write {name}: int = ..., or make it a constant above the class"
            )
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        name = statement.target.id
        if _is_state(statement.value):
            continue
        if statement.value is None:
            raise ImplementationError(
                f"{where}:{statement.lineno}: hyper-parameter {name} has no default; give the paper's value"
            )
        fields[name] = _literal(statement.value, where, f"the default of {name}")
        if not _is_setting(fields[name]):
            raise ImplementationError(
                f"{where}:{statement.lineno}: the default of {name} must be a finite number, a string, a bool, None, "
                "or a tuple of those: it is recorded as JSON"
            )
    return fields


def _is_setting(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_setting(one) for one in value)
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _is_state(value: ast.expr | None) -> bool:
    """``field(init=False)`` declares what fit will set, not a hyper-parameter."""
    return isinstance(value, ast.Call) and any(
        kw.arg == "init" and isinstance(kw.value, ast.Constant) and kw.value.value is False for kw in value.keywords
    )


def _third_party(files: Sequence[Path]) -> tuple[str, ...]:
    names: set[str] = set()
    for file in (file for file in files if file.suffix == ".py"):
        for node in ast.walk(_parsed(file)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return tuple(sorted(names - set(sys.stdlib_module_names) - {"recarena"}))


def script_block(source: str, where: str) -> dict[str, Any] | None:
    """Return the PEP 723 block of a file, or None where it has none."""
    match = SCRIPT_BLOCK.search(source)
    if match is None:
        return None
    body = "".join(line[2:] if line.startswith("# ") else line[1:] for line in match["body"].splitlines(keepends=True))
    try:
        return tomllib.loads(body)
    except tomllib.TOMLDecodeError as error:
        raise ImplementationError(f"{where}: the # /// script block is not valid TOML: {error}") from error
