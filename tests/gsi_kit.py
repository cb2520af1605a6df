"""What the tests of gsi-ssh share: a grid with an authority of its own, and a centre in it.

The library reads one directory of authorities in a process, so one grid serves all tests of one.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from supervision.adapters.budget import MemorySlots
from supervision.adapters.gsi import GsiAccess
from supervision.adapters.gsi_library import Library, load
from supervision.adapters.gsi_names import filed, oneline
from supervision.adapters.ssh import SshTransport
from supervision.adapters.ssh_access import Access
from supervision.settings import SiteSettings, TransportKind
from supervision.testing import FrozenClock
from tests.agent_kit import SITE
from tests.services.gsisshd import GsiSshd
from tests.services.programs import program
from tests.ssh_kit import ME, Centre, agent_command, make_agent_home

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_MARK: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
_INHERIT_ALL: Final = bytes.fromhex("300a06082b06010505071501")
_POLICY: Final = """\
access_id_CA X509 '{name}'
pos_rights globus CA:sign
cond_subjects globus '"/O=Grid/*"'
"""


def now() -> datetime:
    """Tell the real time: the library has no other."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A certificate with its key, and the certificates that lead from it to its authority."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def subject(self) -> str:
        """Its name as grid-mapfile spells it."""
        return oneline(self.certificate.subject)

    @property
    def key_pem(self) -> bytes:
        """The key, without passphrase."""
        return self.key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def pem(self) -> bytes:
        """All in one, as proxies are kept: certificate, key, chain."""
        above = (each.public_bytes(Encoding.PEM) for each in self.above)
        return b"".join([self.certificate_pem, self.key_pem, *above])

    @property
    def locked_pem(self) -> bytes:
        """Certificate and key, with a passphrase."""
        lock = BestAvailableEncryption(b"secret")
        return self.certificate_pem + self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, lock
        )

    def proxy(
        self,
        *,
        begins: timedelta = -HOUR,
        ends: timedelta = 12 * HOUR,
        below: int | None = None,
        cn: str | None = None,
    ) -> Holder:
        """Make an RFC 3820 proxy, valid from and until so long from now."""
        key, serial = _new_key(), x509.random_serial_number() >> 100
        last = x509.NameAttribute(NameOID.COMMON_NAME, cn or str(serial))
        limit = b"" if below is None else bytes([2, 1, below])
        mark = bytes([0x30, len(limit) + len(_INHERIT_ALL)]) + limit + _INHERIT_ALL
        certificate = _built(
            x509.Name([*self.certificate.subject, last]),
            signer=self,
            key=key,
            dates=(now() + begins, now() + ends),
            extensions=[
                (x509.UnrecognizedExtension(_MARK, mark), True),
                (_usage(digital_signature=True, key_encipherment=True), True),
            ],
        )
        return Holder(certificate=certificate, key=key, above=(self.certificate, *self.above))


@cache
def _rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, 2048) for _ in range(8)]


_TAKEN: Final = iter(range(10**9))


def _new_key() -> rsa.RSAPrivateKey:
    """Give the next of eight keys: making one takes a tenth of a second."""
    keys = _rsa_keys()
    return keys[next(_TAKEN) % len(keys)]


def _usage(**uses: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    more = ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{**dict.fromkeys((*names, *more), False), **uses})


def _built(
    subject: x509.Name,
    *,
    signer: Holder | None,
    key: Key,
    dates: tuple[datetime, datetime],
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    issuer = subject if signer is None else signer.certificate.subject
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(dates[0]).not_valid_after(dates[1])
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign((signer.key if signer else key), hashes.SHA256())


def named(*parts: str) -> x509.Name:
    """Make a name: its last part is the common name, the others are O and OU."""
    kinds = [NameOID.ORGANIZATION_NAME, *[NameOID.ORGANIZATIONAL_UNIT_NAME] * (len(parts) - 2)]
    pairs = zip([*kinds, NameOID.COMMON_NAME], parts, strict=True)
    return x509.Name([x509.NameAttribute(kind, part) for kind, part in pairs])


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Signs hosts, persons and other authorities."""

    holder: Holder

    @classmethod
    def made(cls, cn: str, *, above: Authority | None = None, ends: timedelta = 900 * DAY) -> Self:
        """Make a root, or one that another authority signed."""
        return cls.called(named("Grid", cn), key=_new_key(), above=above, ends=ends)

    @classmethod
    def called(
        cls, name: x509.Name, *, key: Key, above: Authority | None = None, ends: timedelta = DAY
    ) -> Self:
        """Make one of any name."""
        certificate = _built(
            name,
            signer=above.holder if above else None,
            key=key,
            dates=(now() - DAY, now() + ends),
            extensions=[
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (_usage(key_cert_sign=True, crl_sign=True), True),
            ],
        )
        higher = above.above() if above else ()
        return cls(holder=Holder(certificate=certificate, key=key, above=higher))

    def above(self) -> tuple[x509.Certificate, ...]:
        """What a certificate of this authority needs beside itself: nothing of the root."""
        root = self.holder.certificate.issuer == self.holder.certificate.subject
        return () if root else (self.holder.certificate, *self.holder.above)

    def install(self, directory: Path) -> None:
        """Have it believed, for names that begin with /O=Grid."""
        stem = directory / filed(self.holder.certificate.subject)
        stem.with_suffix(".0").write_bytes(self.holder.certificate_pem)
        policy = _POLICY.format(name=self.holder.subject)
        stem.with_suffix(".signing_policy").write_text(policy)

    def person(
        self, cn: str = "Rho Spective", *, ends: timedelta = 300 * DAY, key: Key | None = None
    ) -> Holder:
        """Certify somebody."""
        client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._leaf(named("Grid", "users", cn), key or _new_key(), client, ends=ends)

    def host(self, *names: str) -> Holder:
        """Certify a login node under these names."""
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        return self._leaf(named("Grid", names[0]), _new_key(), alternatives, ends=300 * DAY)

    def _leaf(
        self, subject: x509.Name, key: Key, extension: x509.ExtensionType, *, ends: timedelta
    ) -> Holder:
        certificate = _built(
            subject,
            signer=self.holder,
            key=key,
            dates=(now() - DAY, now() + ends),
            extensions=[
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (_usage(digital_signature=True, key_encipherment=True), True),
                (extension, False),
            ],
        )
        return Holder(certificate=certificate, key=key, above=self.above())


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A directory of authorities, the one that is in it, and the library that believes it."""

    certificates: Path
    authority: Authority
    library: Library


@cache
def grid() -> Grid:
    """Give this process's grid; its directory is removed with the process."""
    folder = Path(tempfile.mkdtemp(prefix="grid-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = Authority.made("Test CA")
    authority.install(folder)
    return Grid(certificates=folder, authority=authority, library=load(folder))


def keep(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a credential's file, as it must be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "wb") as file:
        file.write(content)
    path.chmod(mode)
    return path


def grid_proxy_init(person: Holder, folder: Path, *options: str) -> Path:
    """Have Globus's own program make a proxy, as a person does."""
    certificate = keep(folder / "usercert.pem", person.certificate_pem, 0o644)
    key = keep(folder / "userkey.pem", person.key_pem, 0o400)
    out = folder / "x509up"
    files = ["-cert", certificate, "-key", key, "-out", out, "-certdir", grid().certificates]
    subprocess.run(
        [program("grid-proxy-init"), *map(str, files), *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return out


@dataclass(kw_only=True)
class GsiCentre(Centre):
    """A site whose login nodes take proxies. Its clock begins at the real time, and stands still.

    `person` is mapped to this account; `proxy` lies where the site's settings say.
    """

    person: Holder
    servers: list[GsiSshd] = field(default_factory=list)

    @classmethod
    def opened(cls, path: Path, *, nodes: int = 1) -> Self:
        """Make a centre whose nodes run: localhost, then addresses that certificates name."""
        home = make_agent_home(path / "home")
        clock = FrozenClock(now())
        person = grid().authority.person()
        keep(path / "proxy", person.proxy().pem)
        site = SiteSettings(
            name=SITE,
            transport=TransportKind.GSI,
            credential_file=str(path / "proxy"),
            known_hosts_file=path / "known_hosts",
            certificate_directory=grid().certificates,
            connect_every=timedelta(),
        )
        made = cls(
            path=path,
            clock=clock,
            home=home,
            nodes=[],
            site=site,
            slots=MemorySlots(clock),
            wait=lambda seconds: clock.advance(timedelta(seconds=seconds)),
            person=person,
        )
        for number in range(1, nodes + 1):
            made.serve("localhost" if number == 1 else f"127.0.0.{number}", number)
        return made

    @property
    def command(self) -> str:
        """What a login runs: the agent of the home."""
        return agent_command(Path(self.home.path))

    def serve(self, host: str, number: int) -> None:
        """Add a login node, known and certified as `host`."""
        port = self.servers[0].port if self.servers else None
        server = GsiSshd.prepared(
            self.path / f"node{number}",
            certificates=grid().certificates,
            host=host,
            address=f"127.0.0.{number}",
            port=port,
        )
        server.present(grid().authority.host(host).pem)
        server.map(self.person.subject, ME, self.command)
        server.start()
        self.servers.append(server)
        hosts = tuple(each.host for each in self.servers)
        self.site = replace(self.site, hosts=hosts, port=server.port)
        assert self.site.known_hosts_file
        self.site.known_hosts_file.write_text("".join(each.line for each in self.servers))

    @property
    def server(self) -> GsiSshd:
        """The first login node."""
        return self.servers[0]

    @property
    def proxy(self) -> Path:
        """Where the proxy lies."""
        return self.path / "proxy"

    def connect(
        self, *, seconds: float = 20.0, access: Access | None = None, **changes: object
    ) -> SshTransport:
        """Make another transport to the site; `changes` are of the site's settings."""
        site = replace(self.site, **changes)  # type: ignore[arg-type]
        proven = access or GsiAccess(site, self.clock, grid().library)
        return super().connect(seconds=seconds, access=proven, **changes)

    def close(self) -> None:
        """End transports, scripts and nodes."""
        super().close()
        for server in self.servers:
            server.stop()
