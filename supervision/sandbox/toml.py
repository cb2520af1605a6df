"""The text of DIR/supervision.toml: settings that use a sandbox centre, all delays in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Final

from supervision.sandbox.centre import CENTRE_NAME, MACHINE, Centre

SITE: Final = "sandbox"
KEY_FILE: Final = "master.key"

_TEXT: Final = """\
# Settings for this sandbox centre. Written once when it was made; change them as you like.
# Mails go into the Maildir mail/. Without another URL the database is supervision.db beside this
# file. The centre's jobs report to the database and broker that stand here, and to no other.
{urls}
[sites.{site}]
centres = ["{centre}"]
machines = ["{machine}"]
mode = "act"
absent = "act"
stalled = "act"
scheduler = "sandbox"
interpreter = {interpreter}
directory_pattern = {pattern}
transport = "local"
agent_home = {home}
agent_python = {python}
master_key_file = {key_file}
connect_every = 0.1
failure_pause = 1

[users.{login}]
level = 2
mail = {address}
set_by = "sandbox new"
set_on = {today}

[mail]
directory = {mail}
operator = "operator@localhost"

# A centre whose periods last seconds needs patience of seconds.
[policy]
grace = 0
want_delay = 2
want_again = 30
merge_again = 5
busy_again = 3
hold_again = 30
maintenance_margin = 5
credential_again = 10
command_wait = 5
unknown_kind_wait = 5
look_apart = 2
look_again = 10
unreachable_delay = 2
unreachable_cap = 15
unreachable_tell = 120
not_yet_delay = 2
failure_delay = 3
mail_late_wait = 5
incident_pause = 5
incident_proof = 20
incident_patience = 30
incident_again = 30

[policy.incident]
count = 20
window = "1 min"

[policy.site_cap]
count = 1000
window = "1 h"

[policy.simulation_cap]
count = 20
window = "1 h"

[policy.user_cap]
count = 1000
window = "1 h"

[engine]
lease = 15
deadline = 10
rewake_first = 2
rewake_cap = 20
transport_backoff_first = 1
transport_backoff_cap = 10
status_first = 0.5
status_cap = 3
watch_first = 2
watch_cap = 10
watch_gone_after = 30
dispatched_tell = 60
dispatched_fail = 600
late_margin = 8
late_without_start = 30
next_start_check = 20
script_timeout = 120
sweep_interval = 0.5
"""


def settings_text(centre: Centre, today: date, urls: Mapping[str, str]) -> str:
    """Spell the settings; paths are absolute, so that any process may use the file.

    `urls` are keys of the file's head, which have their usual values where they are not given.
    """
    pattern = centre.modipsl / "config" / "{model}" / "{name}"
    return _TEXT.format(
        urls="".join(f"{key} = {_quoted(url)}\n" for key, url in urls.items()),
        site=SITE,
        centre=CENTRE_NAME,
        machine=MACHINE,
        interpreter=_quoted(centre.interpreter),
        pattern=_quoted(pattern),
        home=_quoted(centre.root / "home"),
        python=_quoted(centre.python),
        key_file=_quoted(centre.root / KEY_FILE),
        login=_quoted(centre.login),
        address=_quoted(f"{centre.login}@localhost"),
        mail=_quoted(centre.root / "mail"),
        today=today.isoformat(),
    )


def _quoted(value: object) -> str:
    """Spell a TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
