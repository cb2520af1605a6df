"""The cores that a config.card asks for."""

from __future__ import annotations

import pytest

from supervision.messages_card import cores_of

_COUPLED = """\
[UserChoices]
#JobNumProcTot=4
JobNumProcTot=32
[Executable]
#D- For each component, Real name of executable, Name of executable for oasis
ATM= (gcm.e, lmdz.x, 47MPI, 8OMP)
SRF= ("" ,"" )
OCE= (opa, opa.xx, 19MPI)
IOS= (xios_server.exe, xios.x, 1MPI)
[Post]
PackFrequency=(9MPI)
"""


def test_tasks_times_threads_are_summed_over_the_executables() -> None:
    """The jobs' headers are made from them, so JobNumProcTot is not asked where they speak."""
    assert 47 * 8 + 19 + 1 == cores_of(_COUPLED)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("[UserChoices]\r\nJobNumProcTot = 32 \r\n[Executable]\r\nOOL= (a, b)\r\n", 32),
        ("[UserChoices]\n#JobNumProcTot=32\n", None),
        ("JobNumProcTot=32\n", None),
        ("[UserChoices]\nJobNumProcTot=0\n", None),
        ("[UserChoices]\nJobNumProcTot=many\n", None),
        ("[UserChoices]\nJobNumProcTot=99999999\n", None),
        ("[Executable]\nATM= (a, b, 4OMP)\n", None),
        ("[Executable]\nATM= (a, b, 9999999MPI, 9999999OMP)\n", None),
        ("", None),
    ],
)
def test_a_card_that_does_not_tell_is_not_guessed_at(card: str, expected: int | None) -> None:
    """Comments, zeros, words and absurd numbers are no count of cores."""
    assert expected == cores_of(card)
