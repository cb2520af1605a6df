"""What a GSI handshake promises: the real library on both sides, and no network between them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from supervision.adapters.gsi_context import Context
from supervision.adapters.gsi_library import GsiError, Library
from tests.gsi_kit import Authority, Holder, grid
from tests.services.gsi_server import Acceptor

_HOST: Final = "login.example.org"
_MAKES: Final = {
    "gss_import_cred": "gss_release_cred",
    "gss_import_name": "gss_release_name",
    "gss_init_sec_context": "gss_delete_sec_context",
}
_LEAK_KB: Final = 200


@contextmanager
def _both(
    host: Holder, *, name: str = _HOST, person: Holder | None = None, delegate: bool = False
) -> Iterator[tuple[Context, Acceptor]]:
    """Lend the two sides of a handshake."""
    acceptor = Acceptor(grid().library, host.pem)
    pem = (person or _PERSON()).pem
    try:
        with Context(grid().library, pem=pem, host=name, delegate=delegate) as context:
            yield context, acceptor
    finally:
        acceptor.close()


def _PERSON() -> Holder:  # noqa: N802
    return grid().authority.person().proxy()


def _shake(context: Context, acceptor: Acceptor) -> None:
    """Hand the tokens over until both sides are done."""
    token = context.step(b"")
    while not (context.complete and acceptor.complete):
        acceptor.step(token)
        if acceptor.token:
            token = context.step(acceptor.token)


def test_both_sides_know_each_other() -> None:
    """The node learns the person's own name, and what we sign is proven to be from us."""
    with _both(grid().authority.host(_HOST)) as (context, acceptor):
        _shake(context, acceptor)
        acceptor.verify(b"over this connection", context.sign(b"over this connection"))
        with pytest.raises(GsiError):
            acceptor.verify(b"over another one", context.sign(b"over this connection"))
        assert acceptor.peer() == "/O=Grid/OU=users/CN=Rho Spective"


@pytest.mark.parametrize("delegate", [True, False])
def test_a_proxy_is_handed_over_only_when_that_is_set(delegate: bool) -> None:  # noqa: FBT001
    """Delegation is a choice of the site's settings."""
    with _both(grid().authority.host(_HOST), delegate=delegate) as (context, acceptor):
        _shake(context, acceptor)
        assert acceptor.delegated is delegate


@pytest.mark.parametrize("names", [(_HOST,), ("a.example.org", _HOST), ("*.example.org",)])
def test_names_that_are_the_hosts(names: tuple[str, ...]) -> None:
    """The name may be any one of the certificate, also by a wildcard."""
    with _both(grid().authority.host(*names)) as (context, acceptor):
        _shake(context, acceptor)


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("other.example.org",), _HOST),
        (("example.org",), _HOST),
        (("*.example.org",), "login.cluster.example.org"),
        # By default the library takes what follows a hyphen for a number that does not count.
        ((_HOST,), "login-evil.example.org"),
        (("login-evil.example.org",), _HOST),
        ((_HOST,), "127.0.0.1"),
    ],
)
def test_names_that_are_not_the_hosts(names: tuple[str, ...], asked: str) -> None:
    """Anything else is somebody else; we sign nothing for him."""
    with (
        _both(grid().authority.host(*names), name=asked) as (context, acceptor),
        pytest.raises(GsiError, match="expected name for the remote host"),
    ):
        _shake(context, acceptor)
    assert not context.complete


def test_a_host_of_a_foreign_authority() -> None:
    """A certificate that nobody here vouches for is told in the library's words, on one line."""
    rogue = Authority.made("Rogue CA").host(_HOST)
    with (
        _both(rogue) as (context, acceptor),
        pytest.raises(GsiError, match="certificate") as caught,
    ):
        _shake(context, acceptor)
    assert str(caught.value).isprintable()


def test_rubbish_in_the_place_of_a_token() -> None:
    """A token that is none ends the handshake, not the process."""
    with _both(grid().authority.host(_HOST)) as (context, _):
        context.step(b"")
        with pytest.raises(GsiError):
            context.step(b"rubbish" * 100)


def test_rubbish_in_the_place_of_a_credential() -> None:
    """What the library does not take is an error at once, and nothing of it is kept."""
    counted = _Counted()
    with pytest.raises(GsiError):
        Context(counted, pem=b"rubbish", host=_HOST, delegate=False)
    assert 0 == sum(counted.open().values())


def test_after_its_end_a_handshake_does_nothing() -> None:
    """A token that comes too late touches no memory that is gone; closing twice is closing."""
    with _both(grid().authority.host(_HOST)) as (context, acceptor):
        token = context.step(b"")
        acceptor.step(token)
        context.close()
        context.close()
        with pytest.raises(GsiError, match="given up"):
            context.step(acceptor.token)


class _Counted(Library):
    """The real library, which counts what it lends and what it gets back."""

    def __init__(self) -> None:
        self.__dict__.update(grid().library.__dict__)
        self.lent: Counter[str] = Counter()
        self._seen: set[int] = set()

    def call(self, name: str, *arguments: object) -> int:
        """Count a call that succeeded, a context once only."""
        status = super().call(name, *arguments)
        if name in _MAKES and not (name == "gss_init_sec_context" and self.lent[name]):
            self.lent[name] += 1
        for made, release in _MAKES.items():
            if name == release and self.lent[made]:
                self.lent[made] -= 1
        return status

    def open(self) -> dict[str, int]:
        """What has not come back."""
        return {name: count for name, count in self.lent.items() if count}


@pytest.mark.parametrize("name", [_HOST, "other.example.org"])
def test_everything_is_given_back(name: str) -> None:
    """Credential, name and context, after a handshake that ended well and after a bad one."""
    counted = _Counted()
    acceptor = Acceptor(grid().library, grid().authority.host(_HOST).pem)
    pem = _PERSON().pem
    with Context(counted, pem=pem, host=name, delegate=True) as context:
        token = context.step(b"")
        assert set(_MAKES) == set(counted.open())
        acceptor.step(token)
        if name != _HOST:
            with pytest.raises(GsiError):
                context.step(acceptor.token)
    acceptor.close()
    assert {} == counted.open()


_GROWTH: Final = """
import sys
from pathlib import Path
from tests.contract.test_gsi_context import _HOST, _both, _shake
from tests.gsi_kit import grid
from supervision.adapters.gsi_library import GsiError

host, person = grid().authority.host(_HOST), grid().authority.person().proxy()
def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
def fds():
    return len(list(Path("/proc/self/fd").iterdir()))
def some(count, name):
    for _ in range(count):
        with _both(host, name=name, person=person) as (context, acceptor):
            try:
                _shake(context, acceptor)
            except GsiError:
                pass
for name in (_HOST, "other.example.org"):
    some(50, name)
    before, files = pages(), fds()
    some(80, name)
    print((pages() - before) * 4, fds() - files)
"""


def test_many_handshakes_leave_no_memory_behind() -> None:
    """After a warm-up, 80 good handshakes and 80 bad ones cost no descriptor, and hardly a page."""
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    grown = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert [0, 0] == [files for _, files in grown]
    assert all(kilobytes < _LEAK_KB for kilobytes, _ in grown), grown


def test_eight_threads_shake_hands_at_once() -> None:
    """The library fails now and then without its thread model; with it, all are good."""
    host, person = grid().authority.host(_HOST), _PERSON()

    def one(_: int) -> bool:
        with _both(host, person=person) as (context, acceptor):
            _shake(context, acceptor)
            return context.complete

    with ThreadPoolExecutor(8) as pool:
        assert 120 == sum(pool.map(one, range(120)))


def test_signals_still_come_through() -> None:
    """The library blocks them all when it begins; a child of ours still ends when it is told to.

    In a process of its own, for here it has begun already.
    """
    script = (
        "import signal, subprocess, sys\n"
        "from tests.gsi_kit import grid\n"
        "grid()\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "child.terminate()\n"
        "print(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), child.wait(10))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"0 {-signal.SIGTERM}" == done.stdout.strip()
