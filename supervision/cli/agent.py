"""`supervision agent`: build the agent, take it to a login of a centre, ask it how it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from supervision.adapters.agent_answers import Finding, Health
from supervision.adapters.agent_archive import PYTHON, Archive, build
from supervision.cli import completion
from supervision.cli.agent_steps import Wanted, carry_out, shown
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
)

_SITE: Final = click.argument("site", shell_complete=completion.sites)
_LOGIN: Final = click.argument("login", shell_complete=completion.logins)
_EXECUTABLE: Final = 0o755


@click.group(
    epilog=examples(
        "supervision agent install curie p86abc --dry-run",
        "supervision agent doctor curie p86abc",
        "supervision agent build --output agent.pyz",
    )
)
def agent() -> None:
    """Bring the agent to a centre, and look after it.

    The agent is the one program that this service has at a centre. It runs scripts once, and
    answers for them from its journal.
    """


@agent.command(
    "build",
    epilog=examples(
        "supervision agent build --output agent.pyz",
        "supervision agent build --output agent.pyz --python /usr/bin/python3.9",
    ),
)
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it.",
)
@click.option(
    "--python",
    default=PYTHON,
    show_default=True,
    metavar="PATH",
    help="The interpreter of its first line.",
)
@as_json_option
def build_(output: Path, python: str, *, as_json: bool) -> None:
    """Write the agent as one file that any Python from 3.6 on runs.

    The same bytes from the same version, wherever it is built: compare the digest that is printed.
    """
    if not python.isprintable():
        raise click.BadParameter("must be printable", param_hint="--python")
    archive = build(python)
    try:
        _write(output, archive)
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror) from error
    if as_json:
        echo_json({"file": str(output), "sha256": archive.sha256, "bytes": len(archive.content)})
    else:
        click.echo(f"{archive.sha256}  {output}")


def _write(output: Path, archive: Archive) -> None:
    """Write it aside and put it in its place at once, so that nobody runs half of it."""
    draft = output.with_name(f"{output.name}.new")
    draft.write_bytes(archive.content)
    draft.chmod(_EXECUTABLE)
    draft.replace(output)


@agent.command(
    epilog=examples(
        "supervision agent install curie p86abc --dry-run",
        "supervision agent install curie p86abc --credential ~/.ssh/id_ed25519",
        "supervision agent install curie p86abc --bin /usr/local/slurm/bin --from 192.0.2.7",
    )
)
@_SITE
@_LOGIN
@click.option("--host", metavar="HOST", help="The login node to use; the site's first otherwise.")
@click.option(
    "--credential",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A private key (or KEY.pub of the ssh-agent) that may run commands there; "
    "the site's credential_file otherwise.",
)
@click.option(
    "--bin",
    "folder",
    metavar="DIR",
    help="Where the scheduler's commands are there; what was said before otherwise.",
)
@click.option(
    "--from",
    "source",
    metavar="PATTERN",
    help="From which addresses the key may be used; the one we are seen from otherwise.",
)
@click.option("--dry-run", is_flag=True, help="Connect, look, tell what would be done; no more.")
@as_json_option
@pass_invocation
def install(  # noqa: PLR0917 - click gives what people type
    invocation: Invocation,
    site: str,
    login: str,
    host: str | None,
    credential: Path | None,
    folder: str | None,
    source: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Install or upgrade the agent of LOGIN at SITE.

    Copies it over the site's ssh connection, compares its digest there, writes key and settings,
    has it examine itself, and prints the line that authorized_keys needs. Journal and scripts
    under way are left alone, so it can be repeated at any time.

    Where that line stands already, its key can run the agent only: name another one, of yours,
    with --credential. Exit code 1: installed, and the agent found something bad.
    """
    settings = invocation.settings()
    wanted = Wanted(
        site=settings.site(site),
        login=login,
        scheduler=next(each.scheduler for each in settings.policy.sites if each.name == site),
        folder=folder,
        source=source,
        dry_run=dry_run,
    )
    done = carry_out(wanted, build(), host=host, credential=credential)
    if as_json:
        echo_json(shown(done))
    else:
        click.echo("\n".join(plain(line) for line in done.lines()))
    return _code(done.findings)


@agent.command(
    epilog=examples(
        "supervision agent doctor curie p86abc",
        "supervision agent doctor curie p86abc --directory /ccc/work/abc/config/IPSLCM6/EXP00",
    )
)
@_SITE
@_LOGIN
@click.option("--directory", metavar="DIR", help="A submission directory there: has it libIGCM?")
@as_json_option
@pass_invocation
def doctor(
    invocation: Invocation, site: str, login: str, directory: str | None, *, as_json: bool
) -> int:
    """Ask the agent of LOGIN at SITE whether it can do its work.

    Over the service's own connection and within its budget. Exit code 1: something is bad.
    """
    from supervision.app_agent import examine  # noqa: PLC0415 - `--help` does not pay for it

    with opened(invocation) as made:
        findings = examine(made, site, login, directory)
    if as_json:
        echo_json([shown(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(plain(f"{finding.state:<8}  {finding.check:<11}  {finding.words}"))
    return _code(findings)


def _code(findings: Sequence[Finding]) -> int:
    bad = any(finding.state is Health.BAD for finding in findings)
    return Exit.NOTHING if bad else Exit.DONE
