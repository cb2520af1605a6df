"""The scripts that restart a failed job at its centre, built from facts.

Pure, but for the templates, which are read once. What a script does, and in which order, stands
in `templates/scripts`; how a value becomes a word of the shell stands in `quoting`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.ext import Extension

from supervision.errors import RenderError
from supervision.facts import JobKind, Script, ScriptFacts, SitePolicy, Task, TriggerKind
from supervision.quoting import Shell, quote
from supervision.resources import template_root

SCHEDULERS: Final = ("slurm", "ccc", "loadleveler", "pbs", "sandbox")
"""Every scheduler that a site may name; each has a template of its own."""

_INTERPRETER: Final = re.compile(r"(/[A-Za-z0-9._+/-]*/)?(ksh|ksh93|bash)")
_INCLUDE: Final = re.compile(r'{% include "([^"]+)" %}\n')
_PAUSE_SECONDS: Final = 5
_SANDBOX_PAUSE_SECONDS: Final = 1
_RESUBMITTABLE: Final = re.compile(
    r"create_(ts|se|multi_se)|rebuild_\w+|pack_\w+|monitoring|atlas_\w+|metrics_\w+|additionnal",
    re.ASCII,
)


def build(facts: ScriptFacts, site: SitePolicy) -> Script:
    """Build the script for one attempt; the same facts always give the same bytes (UTF-8).

    The script ends with one of the codes of `facts.ExitCode` and says as its last line of output,
    whatever happens, one JSON object {"did", "period", "scheduler_id", "deleted", "exit"}.
    Raises RenderError for an unknown scheduler or interpreter, a directory that is not absolute, a
    name that cannot be part of a file's name, a task that libIGCM cannot resubmit, and for values
    that no script can carry.
    """
    text = _render(_template(facts), _values(facts, site))
    raw = text.encode()
    content = base64.b64encode(raw).decode("ascii")
    return Script(content=content, sha256=hashlib.sha256(raw).hexdigest())


def text_of(script: Script) -> str:
    """Read a script as people do: for mails and for the eyes of an operator."""
    return base64.b64decode(script.content).decode()


def _template(facts: ScriptFacts) -> str:
    if facts.kind is JobKind.POST_PROCESSING:
        return "post_processing"
    if facts.submit_only or facts.trigger is TriggerKind.STALLED:
        return "broken_chain"
    return "late" if facts.trigger is TriggerKind.LATE else "failed"


def _render(name: str, values: dict[str, object]) -> str:
    try:
        return _environment().get_template(f"{name}.sh.j2").render(values)
    except TemplateError as error:
        raise RenderError(f"the script {name} cannot be built: {error}") from error


class _Included(Extension):
    """Puts the text of what a template includes in its place when it is compiled.

    Included while a script is rendered, each part would get a context of its own, which costs more
    than the part. An include whose name depends on a value is left to the rendering.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Put in what `source` names; that may include further parts."""

        def text_of_part(found: re.Match[str]) -> str:
            text, *_ = _loader().get_source(self.environment, found[1])
            return self.preprocess(text, name, filename)

        return _INCLUDE.sub(text_of_part, source)


@functools.cache
def _loader() -> FileSystemLoader:
    return FileSystemLoader(template_root() / "scripts")


@functools.cache
def _environment() -> Environment:
    """Compile each template once: a wave of failures asks for hundreds of scripts."""
    return Environment(
        loader=_loader(),
        extensions=[_Included],
        undefined=StrictUndefined,
        finalize=quote,
        autoescape=False,  # noqa: S701  # the output is shell, and `finalize` quotes for it
        auto_reload=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _values(facts: ScriptFacts, site: SitePolicy) -> dict[str, object]:
    return {
        **_site_values(site),
        **_task_values(facts, site),
        "supervision_id": facts.supervision_id,
        "prefix": _file_part("supervision id", facts.supervision_id)[:8],
        "attempt": facts.attempt,
        "simulation_uid": facts.simulation_uid,
        "job_name": _file_part("job name", facts.job_name),
        "login": _filled("login", facts.login),
        "directory": _absolute(facts.directory),
        "scheduler_id": facts.scheduler_id or "",
        "restarted_period": "" if facts.restarted_period is None else facts.restarted_period,
        "post_failures": facts.post_failures,
    }


def _site_values(site: SitePolicy) -> dict[str, object]:
    if site.scheduler not in SCHEDULERS:
        allowed = ", ".join(SCHEDULERS)
        raise RenderError(f"scheduler {site.scheduler!r} of {site.name} is none of {allowed}")
    if not _INTERPRETER.fullmatch(site.interpreter):
        raise RenderError(f"interpreter {site.interpreter!r} of {site.name} is no ksh and no bash")
    bare = "/" not in site.interpreter
    sandbox = site.scheduler == "sandbox"
    return {
        "scheduler": site.scheduler,
        "interpreter": site.interpreter,
        "shebang": Shell(f"#!/usr/bin/env {site.interpreter}" if bare else f"#!{site.interpreter}"),
        "site_libigcm": site.libigcm or "",
        "pause_seconds": _SANDBOX_PAUSE_SECONDS if sandbox else _PAUSE_SECONDS,
    }


def _task_values(facts: ScriptFacts, site: SitePolicy) -> dict[str, object]:
    if facts.kind is JobKind.COMPUTE:
        return {}
    task = facts.task or Task()
    if task.name is None or task.date is None:
        raise RenderError("a post-processing job without a task's name and date is unknown")
    if site.scheduler != "sandbox" and not _RESUBMITTABLE.fullmatch(task.name):
        raise RenderError(f"libIGCM has no post-processing {task.name!r} that can be resubmitted")
    return {
        "task_name": _file_part("task name", task.name),
        "task_date": _file_part("task date", task.date),
    }


def _file_part(what: str, value: str) -> str:
    """Refuse what would lead a path elsewhere, or be taken for an option."""
    if "/" in value or value.startswith(("-", ".")):
        raise RenderError(f"the {what} {value!r} cannot be part of a file's name")
    return _filled(what, value)


def _filled(what: str, value: str) -> str:
    if not value:
        raise RenderError(f"the {what} is empty")
    return value


def _absolute(directory: str) -> str:
    if not directory.startswith("/"):
        raise RenderError(f"the submission directory {directory!r} is not absolute")
    if directory.endswith("\n"):
        raise RenderError(f"the submission directory {directory!r} ends in a new line")
    return directory
