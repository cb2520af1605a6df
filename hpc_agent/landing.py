"""The first that runs at a centre: it puts the agent there, and has it run its commands.

`supervision agent install` gives this file to a bare Python on its stdin; it imports nothing of the
agent. One JSON object a line, both ways; the first line out says where we are.
"""

import base64
import hashlib
import json
import os
import pwd
import socket
import subprocess
import sys
from typing import IO, Any, Callable, Dict, List, Optional

Json = Dict[str, Any]

FOLDER = ".supervision-agent"  # as in home.py, which cannot be imported before it has come
FILE = "agent.pyz"
_COMMAND_SECONDS = 50.0
_KEPT_CHARACTERS = 64 * 1024


class Refused(Exception):
    """Something that cannot be done here; the text says why."""


def here() -> Json:
    """Say who and where this is; `seen_from` is the address that the connection came from."""
    return {
        "landing": 1,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "login": pwd.getpwuid(os.getuid()).pw_name,
        "home": os.path.expanduser("~"),
        "host": socket.gethostname(),
        "seen_from": (os.environ.get("SSH_CONNECTION") or "").split(" ")[0],
    }


def look(request: Json) -> Json:
    """Tell what is there: the file's digest, whether a journal is; changes nothing."""
    folder = _folder(request)
    return {
        "sha256": _digest(os.path.join(folder, FILE)),
        "journal": os.path.exists(os.path.join(folder, "journal.id")),
    }


def put(request: Json) -> Json:
    """Put the agent in its place at once and whole, when its digest is right and it starts.

    Whoever serves with the old file goes on: it has read all of it. Idempotent.
    """
    folder, content = _folder(request), base64.b64decode(request["content"])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    draft = os.path.join(folder, "%s.%d" % (FILE, os.getpid()))
    try:
        _write(draft, content)
        digest = _digest(draft)
        if digest != request["sha256"]:
            raise Refused("what arrived has the digest %s: the file system spoiled it" % digest)
        _must_start(draft)
        os.replace(draft, os.path.join(folder, FILE))
    finally:
        if os.path.exists(draft):
            os.unlink(draft)
    _sync(folder)
    return {"sha256": _digest(os.path.join(folder, FILE))}


def run(request: Json) -> Json:
    """Run a command of the agent that was put there; `stdin` is what it is told in secret."""
    file = os.path.join(_folder(request), FILE)
    return _run(file, request["arguments"], request.get("stdin") or "")


def main(requests: IO[bytes], answers: IO[str]) -> None:
    """Say where this is, then answer each line until they end."""
    verbs: Dict[str, Callable[[Json], Json]] = {"look": look, "put": put, "run": run}
    _say(answers, here())
    line = requests.readline()
    while line:
        _say(answers, _answer(verbs, json.loads(line.decode("ascii"))))
        line = requests.readline()


def _answer(verbs: Dict[str, Callable[[Json], Json]], request: Json) -> Json:
    try:
        answer = verbs[request["verb"]](request)
    except (OSError, Refused) as error:
        answer = {"error": str(error)}
    return dict(answer, id=request.get("id"))


def _say(answers: IO[str], value: Json) -> None:
    answers.write(json.dumps(value, sort_keys=True) + "\n")
    answers.flush()


def _folder(request: Json) -> str:
    return os.path.join(request["home"], FOLDER)


def _digest(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _must_start(draft: str) -> None:
    done = _run(draft, ["--version"], "")
    if done["exit_code"]:
        raise Refused("the new agent does not start here: %s" % done["stderr"].strip()[-500:])


def _run(file: str, arguments: List[str], stdin: str) -> Json:
    child = subprocess.Popen(
        [sys.executable, file] + arguments,  # noqa: RUF005 - reads better
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = child.communicate(stdin.encode("ascii"), timeout=_COMMAND_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise Refused("%s did not end in time" % " ".join(arguments)) from error
    return {"exit_code": child.returncode, "stdout": _text(out), "stderr": _text(err)}


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\0", "\ufffd")[:_KEPT_CHARACTERS]


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout)
