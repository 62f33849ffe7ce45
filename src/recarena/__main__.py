"""``python -m recarena``."""

from recarena.cli import main

if __name__ == "__main__":
    main()
