"""The steps of `supervision agent install`, and what is told about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from supervision.adapters.agent_answers import Finding, Health
from supervision.adapters.agent_archive import Archive
from supervision.adapters.agent_install import Found, Installer, authorized_line, serve_command
from supervision.app_agent import installer, public_key
from supervision.errors import InvalidValue
from supervision.settings import SiteSettings, TransportKind

_SOURCE: Final = re.compile(r"[A-Za-z0-9.:*?/!,_-]+")
_SHORT: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a person asked for. `folder` None: where the scheduler's commands are stays as it was.

    `source` is a pattern for sshd's `from=`; None: the address that we are seen from.
    """

    site: SiteSettings
    login: str
    scheduler: str
    folder: str | None
    source: str | None
    dry_run: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What there was, and what was done (`dry_run`: would be). `journal_id` None: not done.

    `line` belongs into authorized_keys, and has the service's key run `command` and nothing else;
    None where no key leads there.
    """

    found: Found
    sha256: str
    dry_run: bool
    command: str
    line: str | None
    journal_id: str | None = None
    findings: tuple[Finding, ...] = ()

    def lines(self) -> Iterator[str]:
        """Tell it in words, a line each."""
        found = self.found
        yield f"{found.login} at {found.host}, Python {found.python}, home {found.home}"
        yield f"agent     {self._agent()}: {found.file}"
        kept = "the journal stays" if found.journal else "with a new journal"
        would = "would be written" if self.dry_run else "written"
        yield f"home      settings and key {would}, {kept}"
        for finding in self.findings:
            if finding.state is not Health.GOOD:
                yield f"{finding.state:<8}  {finding.check}: {finding.words}"
        if self.line is None:
            yield f"served by {self.command}"
        else:
            yield f"\nIn ~/.ssh/authorized_keys of {found.login}, one line for the service's key:\n"
            yield self.line

    def _agent(self) -> str:
        digest = self.sha256[:_SHORT]
        if self.found.sha256 == self.sha256:
            return f"is this one already ({digest})"
        would = "would be " if self.dry_run else ""
        if self.found.sha256 is None:
            return f"{would}installed ({digest})"
        return f"{would}replaced ({self.found.sha256[:_SHORT]} by {digest})"


def carry_out(
    wanted: Wanted, archive: Archive, *, host: str | None, credential: Path | None
) -> Done:
    """Look, and unless it is a dry run take the agent there; raises as `app_agent.installer`."""
    if wanted.source is not None and not _SOURCE.fullmatch(wanted.source):
        raise InvalidValue(f"--from {wanted.source!r}: is no list of addresses for authorized_keys")
    with installer(wanted.site, wanted.login, host=host, credential=credential) as steps:
        command = serve_command(wanted.site.agent_python, steps.found)
        done = Done(
            found=steps.found,
            sha256=archive.sha256,
            dry_run=wanted.dry_run,
            command=command,
            line=_line(wanted, steps.found, command),
        )
        if wanted.dry_run:
            return done
        journal_id = _take(steps, wanted, archive)
        return replace(done, journal_id=journal_id, findings=tuple(steps.examine()))


def _take(steps: Installer, wanted: Wanted, archive: Archive) -> str:
    if steps.found.sha256 != archive.sha256:
        steps.put(archive)
    return steps.prepare(wanted.scheduler, wanted.folder)


def _line(wanted: Wanted, found: Found, command: str) -> str | None:
    """Spell the line of authorized_keys, with what is known of the service's key."""
    if wanted.site.transport is not TransportKind.SSH:
        return None
    public = public_key(wanted.site, wanted.login) or "(no credential_file is set)"
    source = found.seen_from if wanted.source is None else wanted.source
    source = source if _SOURCE.fullmatch(source) else ""
    return authorized_line(command, f"{public} supervision", source=source)


def shown(value: Done | Finding) -> dict[str, Any]:
    """Spell it for programs."""
    return asdict(value)
