"""What differs between two rows, as far as their records, settings and docstrings tell. Nothing here says what it did.

A cause would need a run in which only that one thing differs: ``recarena run --set`` makes one.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recarena.judge.records import Record

NOT_SAID = "not said"
NONE = "–"

# aspect -> what a setting of it is called; the first that fits counts
SETTINGS = (
    ("loss", r"loss|objective"),
    ("negatives", r"negative|unobserved|alpha|sampl"),
    ("initialisation", r"init"),
    ("epochs", r"epoch|sweep|iteration|alternation|n_steps|max_iter|burn|patience"),
    ("learner", r"learner|optimi[sz]er|solver|learning_rate|^lr|momentum|batch|decay_rate"),
    ("regularisation", r"regulari[sz]|^reg|l1|l2|lambda|weight_decay|dropout|shrink|prior"),
    ("capacity", r"factor|dim|hidden|layer|width|units|rank|neighbours"),
)
# aspect -> word -> what a docstring that means it says
WORDS = {
    "learner": {
        "Gibbs sampling": r"\bgibbs\b|\bmcmc\b",
        "alternating least squares": r"alternating least squares|\bi?als\b|alternations?\b",
        "SGD": r"\bsgd\b|stochastic gradient",
        "Adam": r"\badamw?\b",
        "closed form": r"closed[- ]form",
        "coordinate descent": r"coordinate descent",
        "variational inference": r"\bvariational\b",
    },
    "loss": {
        "squared error": r"squared? (?:error|loss)|least squares",
        "BPR": r"\bbpr\b|pairwise",
        "logistic": r"logistic|cross[- ]entropy|log[- ]loss",
        "softmax": r"\bsoftmax\b|\bmultinomial\b",
        "probit": r"probit",
    },
}


@dataclass(frozen=True)
class Code:
    """An implementation's source, as the page needs it.

    Attributes:
        lines: all that are not blank, of its files and those it shares.
        docstring: of the file and its marked class.
    """

    lines: tuple[str, ...]
    docstring: str


@dataclass(frozen=True)
class CodeDifference:
    """How much two sources have in common.

    Attributes:
        a: lines of the first that are not blank.
        b: of the second.
        equal: lines that are the same in both, in the same order.
    """

    a: int
    b: int
    equal: int

    @property
    def share(self) -> float:
        """Equal lines in the lines of both: 1 for the same code."""
        return 2 * self.equal / (self.a + self.b) if self.a + self.b else 1.0


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        aspect: such as "learner" or "packages".
        setting: the hyper-parameter, or "".
        a: of the first, as text.
        b: of the second.
        declared: its author chose and wrote it down: a setting, a departure, a word that both docstrings say.
    """

    aspect: str
    setting: str
    a: str
    b: str
    declared: bool


@dataclass(frozen=True)
class Why:
    """What differs, most telling first, and what does not.

    Attributes:
        differences: between the rows.
        same: settings of the same value in both.
        code: the sources, or None where one of them is not at hand.
        departs: what each declares to do otherwise than its paper.
    """

    differences: Sequence[Difference]
    same: Mapping[str, str]
    code: CodeDifference | None
    departs: tuple[Sequence[str], Sequence[str]]

    @property
    def largest(self) -> Difference | None:
        """The most telling declared difference, None where they declare none."""
        return next((one for one in self.differences if one.declared), None)


def code_of(sources: Sequence[str]) -> Code:
    """Return what the page needs of an implementation's files, its own first; nothing is run."""
    lines = tuple(line.rstrip() for source in sources for line in source.splitlines() if line.strip())
    said: list[str] = []
    try:
        tree = ast.parse(sources[0] if sources else "")
        marked = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list]
        said = [ast.get_docstring(tree) or "", *(ast.get_docstring(node) or "" for node in marked)]
    except (SyntaxError, ValueError, RecursionError):  # another language, or broken since
        pass
    return Code(lines, "\n".join(said))


def difference_of_code(a: Code, b: Code) -> CodeDifference:
    """Count equal lines: the longest runs first, as difflib does."""
    blocks = difflib.SequenceMatcher(None, a.lines, b.lines, autojunk=False).get_matching_blocks()
    return CodeDifference(len(a.lines), len(b.lines), sum(block.size for block in blocks))


def explain(a: Sequence[Record], b: Sequence[Record], code_a: Code | None, code_b: Code | None) -> Why:
    """Return what differs between two rows.

    Args:
        a: the records of the first row.
        b: of the second.
        code_a: source of the first, None where it is not at hand.
        code_b: of the second.
    """
    first, second = a[0].implementation, b[0].implementation
    said = _docstrings(code_a, code_b)
    settings, same = _settings(first.hyperparameters, second.hyperparameters)
    departs = (list(first.departs), list(second.departs))
    departures = []
    if departs[0] != departs[1]:
        counted = [f"{len(one)} declared" if one else "none declared" for one in departs]
        departures = [Difference("departures", "", counted[0], counted[1], declared=True)]
    differences = [
        *(one for one in said if one.declared),
        *departures,
        *settings,
        *(one for one in said if not one.declared),
        *_circumstances(a, b),
    ]
    code = difference_of_code(code_a, code_b) if code_a is not None and code_b is not None else None
    return Why(differences, same, code, departs)


def _docstrings(a: Code | None, b: Code | None) -> list[Difference]:
    found = []
    for aspect, words in WORDS.items():
        told = [_said(one, words) for one in (a, b)]
        if told[0] != told[1]:
            found.append(Difference(aspect, "", told[0], told[1], declared=NOT_SAID not in told))
    return found


def _said(code: Code | None, words: Mapping[str, str]) -> str:
    text = code.docstring.lower() if code is not None else ""
    return ", ".join(word for word, pattern in words.items() if re.search(pattern, text)) or NOT_SAID


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[Difference], dict[str, str]]:
    """Return the settings that differ, those by the largest factor first, and the others."""
    found: list[tuple[float, Difference]] = []
    same = {}
    for name in [*a, *(name for name in b if name not in a)]:
        one, other = (_text(values[name]) if name in values else NONE for values in (a, b))
        if one == other and name in a and name in b:
            same[name] = one
        else:
            factor = _factor(a.get(name), b.get(name))
            found.append((-factor, Difference(_aspect(name), name, one, other, declared=True)))
    found.sort(key=lambda pair: pair[0])
    return [difference for _, difference in found], same


def _aspect(name: str) -> str:
    return next((aspect for aspect, pattern in SETTINGS if re.search(pattern, name.lower())), "setting")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _factor(a: Any, b: Any) -> float:
    """Return |log of the ratio| of two numbers; 1 (a factor of e) where there is no ratio; 0 where one has none."""
    if a is None or b is None:
        return 0.0
    numbers = [v for v in (a, b) if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    return abs(math.log(numbers[0] / numbers[1])) if len(numbers) == 2 else 1.0


def _circumstances(a: Sequence[Record], b: Sequence[Record]) -> list[Difference]:
    """What was around the code: packages, interpreter, machine, limits, and the seeds."""
    found: list[tuple[str, str, str, str]] = []
    packages = [_all(records, lambda one: one.environment.get("packages", {})) for records in (a, b)]
    for name in sorted({name for versions in (*packages[0], *packages[1]) for name in versions}):
        versions = [sorted({one.get(name, NONE) for one in side}) for side in packages]
        if versions[0] != versions[1]:
            found.append(("package", name, ", ".join(versions[0]), ", ".join(versions[1])))
    for aspect, get in {
        "kind": lambda one: one.implementation.kind,
        "python": lambda one: one.environment.get("python", NONE),
        "device": lambda one: one.limits.get("device", NONE),
        "threads": lambda one: one.limits.get("threads", NONE),
        "processor": lambda one: one.machine.get("cpu", NONE),
        "seeds": lambda one: one.seed,
        "versions judged": lambda one: one.test_looks,
        "commit": lambda one: (one.commit or "none")[:7] + ("+" if one.dirty else ""),
    }.items():
        told = [", ".join(map(str, _all(records, get))) for records in (a, b)]
        if told[0] != told[1]:
            found.append((aspect, "", told[0], told[1]))
    return [Difference(aspect, name, one, other, declared=False) for aspect, name, one, other in found]


def _all(records: Sequence[Record], get: Any) -> list[Any]:
    """Return the distinct values of a fact, in the order they occur."""
    values: list[Any] = []
    for record in sorted(records, key=lambda one: (one.seed, one.benchmark.fold)):
        if (value := get(record)) not in values:
            values.append(value)
    return values
