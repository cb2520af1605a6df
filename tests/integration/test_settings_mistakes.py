"""Settings: a sentence for every mistake, with its key and what is allowed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from supervision.errors import SettingsError
from supervision.settings import Settings, SiteSettings, load
from supervision.settings_words import duration

SITE = '[sites.curie]\ncentres = ["tgcc"]\nmachines = ["curie*"]\n'
USER = '[users.abc]\nlevel = 1\nmail = "abc@x.org"\nset_by = "op"\nset_on = 2026-01-01\n'


def loaded(tmp_path: Path, text: str) -> Settings:
    """Write the text to a settings file and load it."""
    path = tmp_path / "supervision.toml"
    path.write_text(text)
    return load(path, {})


def complaint(tmp_path: Path, text: str) -> str:
    """Load a text that must be refused, and give the error's words without the file's name."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/supervision.toml: ", "")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0), (90, 90), (0.5, 0.5), ("90 s", 90), ("10 min", 600), ("10min", 600),
        ("24 h", 86400), ("5 d", 432000), ("1 day", 86400), ("2 hours 30 minutes", 9000),
        ("1.5 h", 5400), (" 3 Sec ", 3), ("0 s", 0),
    ],
)  # fmt: skip
def test_a_span_is_read(written: object, expected: float) -> None:
    """Numbers are seconds; units are written as people write them."""
    assert timedelta(seconds=expected) == duration(written)


@pytest.mark.parametrize(
    "written",
    ["", "10", "min", "ten min", "10 parsecs", "-5 s", "5 s ago", "1e9 d", -1, True, None, [],
     float("nan"), float("inf"), 10**12, "99999999 d", "10 m"],
)  # fmt: skip
def test_what_is_no_span_is_refused(written: object) -> None:
    """Also "10 m", which some read as months; the error shows the forms that are allowed."""
    with pytest.raises(ValueError, match="10 min"):
        duration(written)


MISTAKES: dict[str, tuple[str, str]] = {
    "misspelt in a site": (
        SITE + 'mdoe = "act"', "sites.curie.mdoe: is not a key; did you mean 'mode'?"),
    "misspelt table": ("[polcy]", "polcy: is not a key; did you mean 'policy'?"),
    "misspelt in a list": (
        SITE + 'logins = [{ anounced = "a", login = "b" }]',
        "sites.curie.logins[0].anounced: is not a key; did you mean 'announced'?"),
    "nothing near": ("zzz = 1", "zzz: is not a key; known: broker_url, database_url"),
    "a word that is not allowed": (
        SITE + 'mode = "go"',
        "sites.curie.mode: is 'go'; allowed: 'observe', 'mail' or 'act'"),
    "scheduler": (
        SITE + 'scheduler = "lsf"',
        "sites.curie.scheduler: is 'lsf'; allowed: 'slurm', 'ccc', 'loadleveler', 'pbs' or"),
    "transport": (SITE + 'transport = "rsh"', "sites.curie.transport: is 'rsh'; allowed: 'local'"),
    "missing": ('[sites.curie]\ncentres = ["a"]', "sites.curie.machines: is missing"),
    "empty list": (
        '[sites.curie]\ncentres = []\nmachines = ["a"]',
        "sites.curie.centres: must hold at least one"),
    "text for a list": (
        '[sites.curie]\ncentres = "a"\nmachines = ["a"]', "sites.curie.centres: must be a list"),
    "number for a text": (
        '[sites.curie]\ncentres = [3]\nmachines = ["a"]',
        "sites.curie.centres[0]: must be a text in quotes"),
    "empty text": (SITE + 'interpreter = ""', "sites.curie.interpreter: must be a text of"),
    "control character": (
        SITE + 'libigcm = "/a\\u0000b"', "sites.curie.libigcm: must be a text of printable"),
    "text for a number": (SITE + 'port = "22"', "sites.curie.port: must be a whole number"),
    "fraction for a number": ("[engine]\nbatch = 1.5", "engine.batch: must be a whole number"),
    "negative number": ("[engine]\nbatch = -1", "engine.batch: is -1; allowed: 0 and more"),
    "text for yes or no": (SITE + 'ask = "yes"', "sites.curie.ask: must be true or false"),
    "value for a table": ("policy = 3", "policy: must be a table"),
    "value for tables": ("sites = 3", "sites: must be a table"),
    "a span": ('[engine]\nlease = "1 moon"', "engine.lease: is '1 moon'; allowed: a number of"),
    "a path": ("[mail]\ndirectory = 3", "mail.directory: must be a path in quotes"),
    "site's name": (
        '[sites."a b"]\ncentres = ["a"]\nmachines = ["b"]', "sites.a b: is no name; allowed:"),
    "user's login": ('[users."../root"]\nlevel = 0', "users.../root: is no name; allowed:"),
    "level too high": ("[users.a]\nlevel = 3", "users.a.level: is 3; allowed: 0 (nothing), 1"),
    "level yes": ("[users.a]\nlevel = true", "users.a.level: is True; allowed: 0 (nothing)"),
    "level text": ('[users.a]\nlevel = "2"', "users.a.level: is '2'; allowed: 0 (nothing)"),
    "date": ('[users.a]\nuntil = "2026-01-01"', "users.a.until: must be a date without quotes"),
    "date and time": ("[users.a]\nuntil = 2026-01-01T00:00:00Z", "users.a.until: must be a date"),
    "time without zone": (
        SITE + "maintenance = [{ start = 2026-01-01T00:00:00, end = 2026-01-02T00:00:00Z }]",
        "sites.curie.maintenance[0].start: must be a time with its zone"),
    "maintenance backwards": (
        SITE + "maintenance = [{ start = 2026-01-02T00:00:00Z, end = 2026-01-01T00:00:00Z }]",
        "sites.curie.maintenance[0].end: must be later than start"),
    "lease not longer than deadline": (
        "[engine]\nlease = 60", "engine.lease: is 0:01:00; must be longer than deadline"),
    "first above cap": (
        '[engine]\nrewake_first = "2 h"', "engine.rewake_first: must not be more than rewake_cap"),
    "engine nothing": ("[engine]\nsweep_interval = 0", "engine.sweep_interval: must be more than"),
    "retention nothing": ("[retention]\nrest = 0", "retention.rest: must be more than 0"),
    "policy nothing": ("[policy]\nmerge_again = 0", "policy.merge_again: must be more than 0"),
    "cap without window": (
        "[policy]\nsite_cap = { count = 1, window = 0 }",
        "policy.site_cap.window: must be more than 0"),
    "cap incomplete": ("[policy]\nsite_cap = { count = 1 }", "policy.site_cap.window: is missing"),
    "unreachable": (
        '[policy]\nunreachable_delay = "2 h"', "policy.unreachable_delay: must not be more than"),
    "successor unknown": (
        SITE + 'successor = "irne"\n[sites.irene]\ncentres = ["a"]\nmachines = ["b"]',
        "sites.curie.successor: is 'irne', no other site; did you mean 'irene'?"),
    "successor of itself": (
        SITE + 'successor = "curie"', "sites.curie.successor: is 'curie', no other site"),
    "same machine twice": (
        SITE + '[sites.other]\ncentres = ["x", "TGCC"]\nmachines = ["Curie*"]',
        "sites.other.machines: 'curie*' of centre 'tgcc' belongs to site 'curie' already"),
    "interpreter": (SITE + 'interpreter = "ksh -x"', "sites.curie.interpreter: must be a program"),
    "interpreter as an option": (
        SITE + 'interpreter = "-c"', "sites.curie.interpreter: must be a program"),
    "agent python": (SITE + 'agent_python = "a;b"', "sites.curie.agent_python: must be a program"),
    "libigcm relative": (SITE + 'libigcm = "lib"', "sites.curie.libigcm: must be an absolute"),
    "pattern relative": (
        SITE + 'directory_pattern = "a/{login}"', "sites.curie.directory_pattern: must be an"),
    "pattern of another key": (
        SITE + 'directory_pattern = "/{home}"', "sites.curie.directory_pattern: must be an"),
    "pattern that reaches inside": (
        SITE + 'directory_pattern = "/{login.__class__}"', "sites.curie.directory_pattern: must"),
    "pattern that is broken": (
        SITE + 'directory_pattern = "/{login"', "sites.curie.directory_pattern: must be an"),
    "pattern with a format": (
        SITE + 'directory_pattern = "/{login:>9}"', "sites.curie.directory_pattern: must be an"),
    "host": (SITE + 'hosts = ["-oProxyCommand=x"]', "sites.curie.hosts[0]: is '-oProxyCommand=x'"),
    "port": (SITE + "port = 70000", "sites.curie.port: is 70000; allowed: 1 to 65535"),
    "sessions": (SITE + "max_sessions = 0", "sites.curie.max_sessions: must be more than 0"),
    "home filled with more": (
        SITE + 'agent_home = "/h/{name}"', "sites.curie.agent_home: only {login} is filled in"),
    "alias to a path": (
        SITE + 'logins = [{ announced = "a", login = "../b" }]',
        "sites.curie.logins[0].login: must be letters"),
    "alias backwards": (
        SITE + 'logins = [{announced = "a", login = "b", since = 2026-01-02, until = 2026-01-01}]',
        "sites.curie.logins[0].until: must be later than since"),
    "aliases overlap": (
        SITE + 'logins = [{ announced = "a", login = "b", until = 2026-01-02 }, '
        '{ announced = "a", login = "c", since = 2026-01-01 }]',
        "sites.curie.logins[1]: 'a' has another alias at the same time"),
    "user's site": (
        SITE + USER + 'sites = ["curi"]',
        "users.abc.sites[0]: is 'curi', no site; did you mean 'curie'?"),
    "level 1 without mail": (
        "[users.a]\nlevel = 1\nset_by = 'o'\nset_on = 2026-01-01",
        "users.a.mail: is missing: level 1 sends scripts by mail"),
    "consent by nobody": (
        "[users.a]\nlevel = 2\nset_on = 2026-01-01", "users.a.set_by: is missing: level 2 is a"),
    "consent never given": (
        '[users.a]\nlevel = 2\nset_by = "o"', "users.a.set_on: is missing: level 2 is a consent"),
    "user's mail": (
        '[users.a]\nmail = "a@b, c@d"', "users.a.mail: is 'a@b, c@d'; allowed: one mail address"),
    "sender": ('[mail]\nsender = "me"', "mail.sender: is 'me'; allowed: one mail address"),
    "operator": ('[mail]\noperator = "é@b"', "mail.operator: is 'é@b'; allowed: one mail address"),
    "operator missing": ('[mail]\nhost = "h"', "mail.operator: is missing"),
    "host and directory": (
        '[mail]\nhost = "h"\noperator = "a@b"\ndirectory = "d"', "mail.directory: excludes host"),
    "user without password": (
        '[mail]\nuser = "u"\nstarttls = true', "mail.user: goes with password_file"),
    "password without user": (
        '[mail]\npassword_file = "u"', "mail.user: goes with password_file: both or none"),
    "password in clear": (
        '[mail]\nuser = "u"\npassword_file = "p"', "mail.starttls: must be true where there is"),
    "not TOML": ("a = = 1", "is not TOML: "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(
    tmp_path: Path, text: str, expected: str
) -> None:
    """File, dotted key, what is wrong, what is allowed; and nothing else is complained of."""
    told = complaint(tmp_path, text)
    assert told.startswith(expected), told
    assert len(told.splitlines()) == 1


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    """Nobody corrects a file line by line, one start each; every line names the file."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, SITE + 'mode = "go"\nport = "x"\n[users.a]\nlevel = 9')
    lines = str(caught.value).splitlines()
    assert [f"{tmp_path}/supervision.toml"] * 3 == [line.partition(": ")[0] for line in lines]


def test_aliases_that_follow_each_other_are_right(tmp_path: Path) -> None:
    """One login may be renamed twice."""
    settings = loaded(
        tmp_path,
        SITE
        + 'logins = [{ announced = "a", login = "b", until = 2026-01-01 }, '
        + '{ announced = "a", login = "c", since = 2026-01-01 }]',
    )
    assert ["b", "c"] == [alias.login for alias in settings.policy.sites[0].logins]


@pytest.mark.parametrize(
    ("transport", "missing"),
    [
        ("local", ["agent_home", "master_key_file"]),
        ("ssh", ["hosts", "credential_file", "known_hosts_file", "master_key_file"]),
        (
            "gsi",
            [
                *("hosts", "credential_file", "known_hosts_file", "certificate_directory"),
                "master_key_file",
            ],
        ),
    ],
)
@pytest.mark.parametrize("why", ['mode = "act"', "ask = true"])
def test_who_contacts_a_site_says_how(
    tmp_path: Path, transport: str, missing: list[str], why: str
) -> None:
    """Each way needs its own, as soon as anybody is contacted."""
    told = complaint(tmp_path, f'{SITE}{why}\ntransport = "{transport}"')
    keys = [line.partition(": is missing")[0] for line in told.splitlines()]
    assert [f"sites.curie.{key}" for key in missing] == keys


def test_gsi_sites_share_their_authorities(tmp_path: Path) -> None:
    """The library believes one directory in a process: two would silently be one."""
    gsi = 'transport = "gsi"\ncertificate_directory = "{}"\n'
    other = '[sites.irene]\ncentres = ["tgcc"]\nmachines = ["irene"]\n'
    told = complaint(tmp_path, SITE + gsi.format("/a") + other + gsi.format("/b"))
    assert "sites.irene.certificate_directory: must be that of site 'curie'" in told
    loaded(tmp_path, SITE + gsi.format("/a") + other + gsi.format("/a"))


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1"])
def test_a_gsi_host_is_named(tmp_path: Path, address: str) -> None:
    """A host certificate carries a name, so an address could never be believed."""
    told = complaint(tmp_path, f'{SITE}transport = "gsi"\nhosts = ["{address}"]')
    assert "sites.curie.hosts[0]" in told
    assert "must be the name in its host certificate" in told
    loaded(tmp_path, f'{SITE}transport = "gsi"\nhosts = ["login1.example.org"]')


@pytest.mark.parametrize("quiet", ['mode = "observe"', 'mode = "mail"', 'mode="act"\nretired=true'])
def test_who_contacts_nobody_needs_no_connection(tmp_path: Path, quiet: str) -> None:
    """A first file in observe stays short."""
    assert (SiteSettings(name="curie"),) == loaded(tmp_path, f"{SITE}{quiet}").sites
