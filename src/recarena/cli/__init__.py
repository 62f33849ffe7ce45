"""The command line: ``recarena --help`` lists the commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a mistake that a user can mend ends with its message, not a traceback."""
    # imported here: the keeper's process imports this module on its way, and needs none of the commands
    from recarena.cli.app import app  # noqa: PLC0415
    from recarena.cli.show import fail  # noqa: PLC0415
    from recarena.contract.errors import RecarenaError  # noqa: PLC0415

    try:
        app()
    except RecarenaError as error:
        fail(str(error))
        sys.exit(2)
    except OSError as error:
        fail(f"the system refused: {error}")
        sys.exit(2)


__all__ = ["main"]
