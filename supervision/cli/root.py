"""The command `supervision`: its subcommands by name, and the one place where errors become exits.

A subcommand's module is imported when somebody uses it: `ingest` runs for every mail that comes.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
from click.shell_completion import CompletionItem

from supervision.cli.common import EXITS, Exit, Invocation, code_of, plain
from supervision.errors import SupervisionError

COMMANDS: Final = {
    "demo": "Watch four simulations fail, and two of them recover.",
    "ingest": "Take monitoring messages out of mails and files.",
    "run": "Run the service: all of it, or some stages.",
    "show": "List supervisions, newest first.",
    "top": "Watch how everything is: states, queues, alarms, verdicts, sites, the last acts.",
    "why": "Tell what was decided about a job or simulation, and why.",
    "history": "Tell what happened to a supervision, in order.",
    "whatif": "Tell what another policy would have decided.",
    "render": "Show the script of a supervision.",
    "hold": "Stop acting at a site, for a login, for a simulation.",
    "release": "Take a hold back.",
    "holds": "List what is on hold, by whom and why.",
    "retry": "Begin another attempt at jobs.",
    "cancel": "Give up supervisions that are under way.",
    "force": "Put supervisions into another state.",
    "incident": "See and end incidents: many simulations of a site that failed at once.",
    "dead": "See, send again or drop the messages that no consumer could take.",
    "agent": "Bring the agent to a centre, and look after it.",
    "daily": "Show what is on the operator's list now.",
    "report": "Tell what became of failures, and how long they lasted.",
    "doctor": "Examine settings, database, broker, mail and the way to each site.",
    "db": "Look after the database.",
    "settings": "Show every setting that is in force.",
    "diagram": "Draw the state machine.",
    "sandbox": "Play with a make-believe centre: its jobs really run, fail and are restarted.",
}
"""Every subcommand, in the order of the help, with the first sentence of its own."""

_MODULES: Final = {
    **{name: f"supervision.cli.{name}" for name in COMMANDS},
    **dict.fromkeys(("hold", "release", "holds"), "supervision.cli.holds"),
    **dict.fromkeys(("retry", "cancel", "force"), "supervision.cli.orders"),
    "db": "supervision.cli.database",
}

_CODES: Final = "\n".join(f"  {code.value:<3} {words}" for code, words in EXITS.items())

_EPILOG: Final = f"""\
\b
A first look:
  supervision demo
  supervision ingest ~/Maildir
  supervision show
  supervision why 3195c4c1

\b
Exit codes, of every command:
{_CODES}

\b
Settings come from --config, else $SUPERVISION_CONFIG, else ./supervision.toml,
else there are defaults: SQLite and everything in one process.
"""


class Commands(click.Group):
    """A group that knows its subcommands by name and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List them in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one; None for a name that is none."""
        if cmd_name not in COMMANDS:
            return None
        found: object = getattr(importlib.import_module(_MODULES[cmd_name]), cmd_name)
        return found if isinstance(found, click.Command) else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer names without importing what they name: somebody waits for a key to be answered."""
        if incomplete and not incomplete[0].isalnum():
            return super().shell_complete(ctx, incomplete)
        fit = (name for name in COMMANDS if name.startswith(incomplete))
        return [CompletionItem(name, help=COMMANDS[name]) for name in fit]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what there is, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001
    if asked and not ctx.resilient_parsing:
        metadata = importlib.import_module("importlib.metadata")
        try:
            version = metadata.version("prodiguer-supervision")
        except metadata.PackageNotFoundError:
            version = "(run from a checkout)"
        click.echo(f"supervision {version}")
        ctx.exit()


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Tell the version.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The settings file to use.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log everything that happens, to stderr.")
@click.pass_context
def supervision(ctx: click.Context, config: Path | None, *, verbose: bool) -> None:
    """Keep climate simulations alive: detect failed libIGCM jobs, restart them, and say why."""
    ctx.obj = Invocation(config=config, verbose=verbose)
    ctx.obj.log_for_people()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (this process's own by default) and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Nothing is raised but SystemExit's kin."""
    try:
        code = supervision.main(args=arguments, prog_name="supervision", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except SupervisionError as error:
        click.echo(f"supervision: {plain(str(error))}", err=True)
        return code_of(error)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 - the other of the two places where anything is caught
        return _unforeseen(error)
    return code if isinstance(code, int) else Exit.DONE


def _unforeseen(error: Exception) -> int:
    """Say so in a sentence; the traceback goes to the log, for whoever mends it."""
    structlog = importlib.import_module("structlog")
    if not structlog.is_configured():  # it went wrong before the first word was understood
        Invocation(config=None, verbose=False).log_for_people()
    structlog.get_logger().error("command.failed", exc_info=error)
    kind = type(error).__name__
    click.echo(f"supervision: a mistake of ours: {kind}: {plain(str(error))[:200]}", err=True)
    return Exit.UNFORESEEN
