"""Claims: what a paper says, where it was read, and whether our number may be held against it (law 5)."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recarena.contract.errors import DataError, did_you_mean
from recarena.contract.metrics import parse

Confidence = Literal["source", "secondary", "memory", "measured"]


class Claim(BaseModel):
    """One published number and the protocol it was published under."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    implementation: str = ""
    benchmark: str
    ask: str
    metric: str
    value: float = Field(allow_inf_nan=False)
    tolerance: float = Field(ge=0, allow_inf_nan=False)
    model: str
    settings: str = ""
    protocol: str
    comparable: bool
    why_not: str = ""
    source: str
    confidence: Confidence

    @model_validator(mode="after")
    def _reasons(self) -> Claim:
        if not self.comparable and not self.why_not:
            raise ValueError("a claim that is not comparable needs why_not")
        if self.comparable and self.confidence == "memory":
            raise ValueError('confidence "memory" is never held against a number: comparable must be false')
        parse(self.metric)
        return self

    @property
    def digits(self) -> int:
        """How many decimals its number and the gap to ours are worth: four, or more where the tolerance is finer."""
        return min(8, max(4, math.ceil(-math.log10(self.tolerance)))) if self.tolerance else 4


class Paper(BaseModel):
    """A folder of claims."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    authors: str
    year: int
    url: str
    claims: tuple[Claim, ...] = ()


def load_paper(folder: Path) -> Paper:
    """Read a ``paper.toml``.

    Raises:
        DataError: it is missing, not TOML, or says something that is not known; the key is named.
    """
    path = folder / "paper.toml"
    where = f"{folder.name}/paper.toml"
    try:
        return Paper.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{where}: missing; every folder under reproductions/ says which paper it is") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        hint = ""
        if first["type"] == "extra_forbidden":
            model = Claim if len(first["loc"]) > 1 else Paper
            hint = did_you_mean(str(first["loc"][-1]), model.model_fields)
        raise DataError(f"{where}: {at}: {first['msg']}{hint}") from error


def verdict(claim: Claim, ours: float) -> tuple[str, str]:
    """Return a verdict and the words of the board's cell.

    Args:
        claim: what was published.
        ours: our mean for the same metric.

    Returns:
        ("reproduced" | "short" | "above" | "not comparable", text): "above" is better than the claim by more than
        its tolerance, "short" worse by more.
    """
    if not claim.comparable:
        return "not comparable", "not comparable"
    gap = ours - claim.value
    sign = "+" if gap >= 0 else "−"
    size = f"{abs(gap):.{claim.digits}f}".removeprefix("0")
    if abs(gap) <= claim.tolerance:
        return "reproduced", f"✓ {sign}{size}"
    better = (gap > 0) == parse(claim.metric).higher_is_better
    return ("above", f"above {size}") if better else ("short", f"short {size}")
