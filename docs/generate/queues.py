"""docs/reference/queues.md: every exchange and queue, from `supervision/topology.py`."""

from __future__ import annotations

import json
from typing import Final

from docs.generate.codes import MEANT
from docs.generate.markdown import block, code, head, prose, table
from supervision.fsm.states import Queue
from supervision.messages import MONITORING_CODES, meaning_of, monitoring_queue
from supervision.topology import (
    DEAD_QUEUES,
    DEBUG_SOURCES,
    DELIVERY_LIMIT,
    EXCHANGES,
    QUEUES,
    REASON_HEADER,
    WORK_QUEUES,
    dead_queue,
    debug_queue,
)

WAKES: Final[dict[Queue, str]] = {
    Queue.LATE_JOBS: "a job whose alarm may be due: is it late, or is its successor?",
    Queue.DETECT: "a job with a trigger: the rules decide about it",
    Queue.FORMAT: "a supervision that is detected: its script is built",
    Queue.DISPATCH: "a supervision that is formatted: its script is sent",
    Queue.EXECUTION: "a supervision that is dispatched, or watched: the centre is asked",
}
"""Which row a wake-up of each queue is a hint to, and what is done with it."""

_PAGE: Final = """\
With `broker_url = "memory://"` the same queues are in the service's own memory. With RabbitMQ every
process declares all of them when it connects, so nobody has to make one by hand.

## Exchanges

Topic exchanges, all of them durable: {exchanges}.

A queue `<side>-...` is bound to `x-<side>` by its own name: whoever publishes takes the name of the
queue as routing key.

## Facts

One queue for each code that libIGCM sends. `supervision ingest` publishes here, and so may any
other AMQP client.

{facts}
What each code means, also in other generations: [codes](codes.md#message-codes).

## Wake-ups

A wake-up carries the id of a row, and nothing else. It is a hint: lost, doubled or late, it does no
harm.

{wakes}
## How they are declared

Each of the {count} queues above is declared with these arguments; QUEUE stands for its own
name:

{work}
The delivery limit of {limit:,} means *never*: a message that is given back comes again.

Each has a queue for its dead letters, {dead_count} of them, called `dead-QUEUE`. The header
`{reason}` says why a message lies there. `supervision dead` shows, repeats and drops them.

{buried}
There are copies for people, which nobody has to read. They forget by themselves:

{debug}


{copied}"""


def page() -> str:
    """Write the page: exchanges, facts, wake-ups, and with what arguments they are declared."""
    work, copy = Queue.DETECT.value, debug_queue(Queue.DETECT.value)
    return (
        head("Queues", "`supervision/topology.py`")
        + "\n"
        + _PAGE.format(
            exchanges=", ".join(map(code, EXCHANGES)),
            facts=table(("queue", "exchange", "carries"), map(_fact, MONITORING_CODES)),
            wakes=table(("queue", "exchange", "is a hint to"), map(_wake, Queue)),
            count=len(WORK_QUEUES),
            work=arguments(work),
            limit=DELIVERY_LIMIT,
            dead_count=len(DEAD_QUEUES),
            reason=REASON_HEADER,
            buried=arguments(dead_queue(work)),
            debug="".join(f"- {code(debug_queue(each))}\n" for each in DEBUG_SOURCES),
            copied=arguments(copy),
        )
    )


def _fact(number: str) -> tuple[str, str, str]:
    meaning = meaning_of(number, {})
    queue = QUEUES[monitoring_queue(number)]
    return code(queue.name), code(queue.route), prose(MEANT[meaning]) if meaning else "-"


def _wake(queue: Queue) -> tuple[str, str, str]:
    return code(queue.value), code(QUEUES[queue.value].route), prose(WAKES[queue])


def arguments(queue: str) -> str:
    """Show with what a queue is declared; its own name becomes QUEUE."""
    own = queue.removeprefix("dead-").removeprefix("debug-")
    lines = (f"{key} = {json.dumps(value)}" for key, value in QUEUES[queue].arguments.items())
    return block("\n".join(line.replace(own, "QUEUE") for line in lines), "text")
