"""The agent's command line: `serve` a session on stdin and stdout, `init` a home, `doctor` it."""

import argparse
import io
import json
import os
import sys
from typing import Any, Dict, List, Optional

from hpc_agent import doctor, journal
from hpc_agent.home import FOLDER, QUERY_INTERVAL_SECONDS, SETTINGS, HomeError, prepare
from hpc_agent.listing import SCHEDULERS
from hpc_agent.serve import OLDEST_VERSION, VERSION, serve

_DEFAULTS: Dict[str, Any] = {"bin": "", "query_interval_seconds": QUERY_INTERVAL_SECONDS}


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command; 0 when it went well, 1 when the doctor found something bad, 2 for no use."""
    options = _parser().parse_args(arguments)
    if options.command == "serve":
        serve(options.home, io.BufferedReader(io.FileIO(0, closefd=False)), sys.stdout.buffer)
        return 0
    return _examined(options) if options.command == "doctor" else _prepared(options)


def _prepared(options: argparse.Namespace) -> int:
    try:
        key = bytes.fromhex(sys.stdin.read().strip())
        home = prepare(options.home, _settings(options), key)
    except (HomeError, ValueError, OSError, journal.JournalError) as error:
        sys.stderr.write("%s\n" % error)
        return 2
    sys.stdout.write("%s\n" % home.journal_id)
    return 0


def _examined(options: argparse.Namespace) -> int:
    findings = doctor.examine(options.home, options.directory)
    if options.json:
        sys.stdout.write(json.dumps(doctor.report(findings), indent=2) + "\n")
    else:
        for finding in findings:
            sys.stdout.write("%-8s  %-11s  %s\n" % (finding.state, finding.check, finding.words))
    return 1 if any(finding.state == doctor.BAD for finding in findings) else 0


def _settings(options: argparse.Namespace) -> Dict[str, Any]:
    """Settle what a home is told: what is not said anew stays as it was."""
    said = {name: getattr(options, name) for name in ("site", "login", "scheduler", *_DEFAULTS)}
    path = os.path.join(options.home, FOLDER, SETTINGS)
    kept = dict(_DEFAULTS, **(journal.read_json(path) or {}))
    return dict(kept, **{name: value for name, value in said.items() if value is not None})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hpc_agent", description=__doc__)
    spoken = "hpc_agent, protocol %d to %d" % (OLDEST_VERSION, VERSION)
    parser.add_argument("--version", action="version", version=spoken)
    commands = parser.add_subparsers(dest="command")
    commands.required = True  # as a keyword only since Python 3.7
    session = commands.add_parser("serve", help="answer requests on stdin until it ends")
    init = commands.add_parser("init", help="prepare a home; the key is read from stdin as hex")
    examined = commands.add_parser("doctor", help="tell whether an agent can do its work here")
    for command in (session, init, examined):
        command.add_argument("--home", required=True, help="the login's home directory")
    init.add_argument("--site", required=True)
    init.add_argument("--login", required=True)
    init.add_argument("--scheduler", required=True, choices=sorted(SCHEDULERS))
    init.add_argument("--bin", help="where the scheduler's commands are looked up first")
    init.add_argument("--query-interval-seconds", type=float)
    examined.add_argument("--directory", help="a submission directory: is libIGCM found from it?")
    examined.add_argument("--json", action="store_true", help="for programs")
    return parser


def run() -> None:
    """Enter from a .pyz, whose starter forgets what a function returns."""
    sys.exit(main())


if __name__ == "__main__":
    run()
