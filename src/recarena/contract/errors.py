"""The errors a person may meet. Every message says what was wrong, where, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RecarenaError(Exception):
    """Anything a user can mend. The command line prints its message without a traceback."""


class DataError(RecarenaError):
    """A recipe, a source or a raw file is not what it should be."""


class PredictionError(RecarenaError):
    """A prediction breaks a rule of the game."""


class ImplementationError(RecarenaError):
    """An implementation's file does not keep to the protocol."""


class Skip(Exception):
    """Raised by an implementation, with a reason, when a question is not for it; the board shows the reason."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``' (did you mean "x"?)'`` for the closest known word, else the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return " (did you mean " + " or ".join(f'"{c}"' for c in close) + "?)"
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f" (known: {listed})" if known else ""
