"""What gsi-ssh promises beside the port: which credentials open a session, and what is told."""

from __future__ import annotations

import ctypes
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from db import session
from supervision import app_agent, app_ways
from supervision.adapters import gsi_credentials
from supervision.adapters.agent_archive import build
from supervision.adapters.gsi_names import filed
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind
from supervision.settings import Settings, SiteSettings, TransportKind
from tests.agent_kit import MASTER, SITE
from tests.factories import PolicyFactory
from tests.gsi_kit import HOUR, Authority, GsiCentre, Holder, grid, grid_proxy_init, keep, named
from tests.services.programs import program
from tests.ssh_kit import FIRST, ME


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[GsiCentre]:
    """Open a centre with one login node."""
    centre = GsiCentre.opened(tmp_path)
    yield centre
    centre.close()


def _opens(centre: GsiCentre, pem: bytes) -> None:
    """Assert that a credential opens a session, as the person that it is about."""
    keep(centre.proxy, pem)
    transport = centre.connect()
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN
    transport.close()
    assert centre.server.said("Accepted")[-1].endswith(centre.person.subject)


def test_a_proxy_of_grid_proxy_init(centre: GsiCentre) -> None:
    """What people make every morning with Globus's own program opens a session; scripts run."""
    made = grid_proxy_init(centre.person, centre.path / "globus", "-valid", "2:00")
    transport = centre.connect(credential_file=str(made))
    assert centre.submit(transport) is AnswerKind.ACCEPTED
    assert centre.ended(transport) is AnswerKind.EXECUTED
    assert (1, 1) == (centre.executions(), centre.server.accepted())


def test_kinds_of_credential(centre: GsiCentre) -> None:
    """A proxy of a proxy, a certificate with its key, in either order, and an elliptic key."""
    person = centre.person
    _opens(centre, person.proxy().proxy().pem)
    _opens(centre, person.proxy(below=1).proxy().pem)
    _opens(centre, person.pem)
    _opens(centre, person.key_pem + person.certificate_pem)
    elliptic = grid().authority.person(key=ec.generate_private_key(ec.SECP256R1()))
    _opens(centre, elliptic.pem)
    _opens(centre, elliptic.proxy().pem)


def test_an_authority_below_another_one(tmp_path: Path) -> None:
    """The certificates between person and root come with the proxy, or lie in the directory."""
    middle = Authority.made("Middle CA", above=grid().authority)
    person = middle.person()
    directory = tmp_path / "authorities"
    directory.mkdir()
    grid().authority.install(directory)
    now = person.certificate.not_valid_before_utc + 30 * HOUR
    file = keep(tmp_path / "proxy", person.proxy(ends=100 * HOUR).pem)
    assert gsi_credentials.opened(file, directory, now).subject == person.subject
    keep(file, replace(person, above=()).proxy(ends=100 * HOUR).pem)
    with pytest.raises(SiteUnavailable, match="no authority /O=Grid/CN=Middle CA"):
        gsi_credentials.opened(file, directory, now)
    middle.install(directory)
    assert gsi_credentials.opened(file, directory, now).subject == person.subject


def test_validity_is_that_of_the_whole_chain(tmp_path: Path) -> None:
    """It ends with the first of its certificates; the name is the person's; no key is needed."""
    person = grid().authority.person(ends=HOUR)
    proxy = person.proxy(begins=-2 * HOUR)
    pem = proxy.certificate_pem + person.certificate_pem
    found = gsi_credentials.validity(keep(tmp_path / "proxy", pem, 0o644))
    assert (person.subject,) == found.principals
    assert person.certificate.not_valid_after_utc == found.before
    assert proxy.certificate.not_valid_before_utc == found.after
    assert found.proxy
    assert not gsi_credentials.validity(keep(tmp_path / "person", person.pem)).proxy
    with pytest.raises(SiteUnavailable, match="no proxy"):
        gsi_credentials.validity(tmp_path / "none")


def test_a_new_proxy_needs_no_restart(centre: GsiCentre) -> None:
    """It is read anew for each connection, and a new one counts as another state of the login."""
    keep(centre.proxy, centre.person.proxy(ends=-HOUR).pem)
    transport = centre.connect()
    with pytest.raises(SiteUnavailable, match="expired"):
        centre.status(transport)
    keep(centre.proxy, centre.person.proxy().pem)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


@pytest.mark.parametrize("delegate", [False, True])
def test_delegation_is_a_setting(centre: GsiCentre, delegate: bool) -> None:  # noqa: FBT001
    """A login node gets a proxy of ours only where the site's settings say so."""
    assert centre.status(centre.connect(delegate=delegate)).kind is AnswerKind.NEVER_SEEN
    assert delegate is bool(centre.server.said(f"Delegated by {centre.person.subject}"))


def test_as_the_service_builds_it(centre: GsiCentre, sqlite_url: str) -> None:
    """From settings alone: the way to the site is gsi-ssh, with the key derived from the master."""
    master = keep(centre.path / "master", MASTER)
    site = replace(centre.site, master_key_file=master)
    database = session.Database(session.create(sqlite_url), centre.clock)
    routes = app_ways.Ways(_settings(site), centre.clock, database).routes
    try:
        assert routes.submit(SITE, ME, [centre.order()])[0].kind is AnswerKind.ACCEPTED
    finally:
        routes.close()
        database.close()
    assert 1 == centre.server.accepted()


def _settings(*sites: SiteSettings) -> Settings:
    return Settings(
        source=None,
        text="",
        database_url="",
        broker_url="",
        policy=PolicyFactory.build(),
        sites=sites,
    )


def test_the_agent_is_installed_and_found_there(centre: GsiCentre) -> None:
    """gsi-ssh knows no forced command: the agent is taken there, and asked for by its place."""
    centre.server.map(centre.person.subject, ME, "")
    home = centre.path / "a new $HOME"
    (home / "run").mkdir(parents=True)
    master = keep(centre.path / "master", MASTER)
    site = replace(centre.site, master_key_file=master, agent_home=str(home))
    with app_agent.installer(site, ME, host=None, credential=None) as steps:
        assert steps.found.sha256 is None
        steps.put(build())
        assert steps.prepare("sandbox", None)
    transport = centre.connect(agent_home=str(home))
    order = replace(centre.order(), directory=str(home / "run"))
    assert transport.submit(SITE, ME, [order])[0].kind is AnswerKind.ACCEPTED
    assert centre.ended(transport) is AnswerKind.EXECUTED


def test_without_the_library(
    centre: GsiCentre, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gsi site says which package it needs; the other sites go on."""

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    other = SiteSettings(name="other", transport=TransportKind.SSH)
    database = session.Database(session.create(sqlite_url), centre.clock)
    routes = app_ways.Ways(_settings(centre.site, other), centre.clock, database).routes
    with pytest.raises(SiteUnavailable, match="apt-get install libglobus-gssapi-gsi4"):
        routes.status(SITE, ME, [FIRST])
    with pytest.raises(SiteUnavailable, match="master_key_file"):
        routes.status("other", ME, [FIRST])
    routes.close()
    database.close()


def test_no_secret_is_told(centre: GsiCentre, caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr, nor an error with all its causes, nor the log holds a piece of the key."""
    pem = centre.person.proxy().pem
    keep(centre.proxy, pem)
    with caplog.at_level(logging.DEBUG):
        lent = gsi_credentials.opened(centre.proxy, grid().certificates, centre.clock.now())
        keep(centre.proxy, pem.replace(b"KEY-----\nMII", b"KEY-----\nXII"))
        with pytest.raises(SiteUnavailable) as caught:
            centre.status(centre.connect())
        centre.server.present(grid().authority.host("elsewhere.example.org").pem)
        keep(centre.proxy, pem)
        with pytest.raises(SiteUnavailable) as other:
            centre.status(centre.connect(failure_pause=0 * HOUR))
    said = [repr(lent), caplog.text, *map(str, _causes(caught.value)), *_causes_repr(other.value)]
    key = pem.partition(b"PRIVATE KEY-----\n")[2].splitlines()[0].decode()
    assert lent.pem
    assert [] == [text for text in said if key[:20] in text or "PRIVATE" in text]


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__), *_causes(error.__context__)]


def _causes_repr(error: BaseException) -> list[str]:
    return [repr(each) for each in _causes(error)]


@pytest.mark.parametrize(
    "name",
    [
        named("Grid", "Test CA"),
        named("Grid", "users", "  Zo\u00eb   de l'\u00c9tang "),
        x509.Name(
            [
                x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "org"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
                x509.NameAttribute(NameOID.EMAIL_ADDRESS, "CA@Example.org"),
                x509.NameAttribute(NameOID.COMMON_NAME, "x" * 64),
            ]
        ),
        x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Grid"),
                        x509.NameAttribute(NameOID.COMMON_NAME, "A"),
                    ]
                )
            ]
        ),
    ],
    ids=["plain", "foreign", "many", "joined"],
)
def test_authorities_are_filed_as_openssl_files_them(name: x509.Name, tmp_path: Path) -> None:
    """The eight digits are those of openssl itself."""
    holder = Authority.made("Test CA").holder
    file = keep(tmp_path / "it.pem", _named(holder, name).certificate_pem)
    command = [program("openssl"), "x509", "-noout", "-hash", "-in", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert filed(name) == done.stdout.strip()


def _named(holder: Holder, name: x509.Name) -> Holder:
    """Give the same authority another name."""
    return Authority.called(name, key=holder.key).holder
