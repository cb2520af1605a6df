"""The settings that a process goes by at this moment, in one place for whoever reads them."""

from __future__ import annotations

from supervision.settings import Settings


class InForce:
    """The settings of this moment, as one frozen value that is swapped whole.

    Whoever does a piece of work takes the value once and goes by it to the end: it then never sees
    half of two files. Safe for many threads. `refused` says what is wrong with the file that lies
    there now, a mistake a line; None while what lies there is what is in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.refused: str | None = None

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._settings

    def swap(self, settings: Settings) -> None:
        """Put others in force, for everything that begins from now on."""
        self._settings = settings
        self.refused = None
