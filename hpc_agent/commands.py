"""Programs of the centre: where they are found, what environment they get, how long they may take.

Never through a shell, never with a terminal, never with our secrets.
"""

import os
import re
import shutil
import signal
import subprocess
from typing import Dict, List, NamedTuple, Optional

from hpc_agent.home import Home

COMMAND_TIMEOUT_SECONDS = 15.0
OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
_SECRET = re.compile(
    r"PASSW|SECRET|TOKEN|CREDENTIAL|API_?KEY|PRIVATE_KEY|\ASUPERVISION_|\ASSH_(AUTH|ORIGINAL|AGENT|ASKPASS)",
    re.IGNORECASE,
)


class Done(NamedTuple):
    """What a command left. `problem` is empty when it ran to its end, whatever its exit code."""

    exit_code: int
    stdout: str
    stderr: str
    problem: str


def environment(home: Home) -> Dict[str, str]:
    """Build what scripts and commands see: the login's own environment without secrets.

    libIGCM's site files read it (R_BUF and the like), so it is not made from nothing. `bin` comes
    first in PATH.
    """
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    path = kept.get("PATH") or os.defpath
    kept["PATH"] = os.pathsep.join([home.bin, path]) if home.bin else path
    kept["HOME"] = home.path
    kept["USER"] = kept["LOGNAME"] = home.login
    kept.setdefault("LANG", "C")
    return kept


def find(program: str, environment_: Dict[str, str]) -> Optional[str]:
    """Resolve a program's name the way a shell would; None when there is none."""
    return shutil.which(program, path=environment_["PATH"])


def there(home: Home, program: str) -> bool:
    """Tell whether this machine has a program, where `run` would look for it."""
    return find(program, environment(home)) is not None


def run(home: Home, argv: List[str]) -> Done:
    """Run one command of the scheduler to its end, or to its deadline."""
    variables = dict(environment(home), LC_ALL="C")
    program = find(argv[0], variables)
    if program is None:
        return Done(127, "", "", "%s is not on this machine" % argv[0])
    child = subprocess.Popen(
        [program] + argv[1:],  # noqa: RUF005 - reads better
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables,
        cwd=home.path,
        start_new_session=True,
    )
    return _finish(child, argv[0])


def _finish(child: "subprocess.Popen[bytes]", name: str) -> Done:
    with child:  # closes the pipes, which a grandchild may hold open for ever
        try:
            stdout, stderr = child.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            end_group(child.pid, signal.SIGKILL)
            problem = "%s did not answer within %d s" % (name, COMMAND_TIMEOUT_SECONDS)
            return Done(child.wait(), "", "", problem)
    problem = ""
    if len(stdout) > OUTPUT_LIMIT_BYTES:  # half a list would make jobs absent that are there
        problem = "%s printed more than %d bytes" % (name, OUTPUT_LIMIT_BYTES)
    return Done(child.returncode, _text(stdout), _text(stderr), problem)


def end_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")[:OUTPUT_LIMIT_BYTES]
