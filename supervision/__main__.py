"""`supervision`, and `python -m supervision`: the command line begins here."""

from __future__ import annotations

from supervision.cli.root import main

if __name__ == "__main__":
    main()
