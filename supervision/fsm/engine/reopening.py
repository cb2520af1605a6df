"""What another policy decides anew: decisions that the present settings may have made obsolete."""

from __future__ import annotations

from db import dao_policy, dao_reopening
from supervision.fsm.engine.tools import Tools


def record_policy(tools: Tools) -> int:
    """Keep the policy of this moment, and wake what another one stopped and this one might not.

    That is what was refused for want, and what a maintenance or a cap put off. A refusal for any
    other reason is final. What counts is the policy that each decision was made with: one that
    comes back wakes as a new one does, one that is recorded again wakes nothing. Returns how many
    woke.
    """
    policy = tools.policy
    with tools.database.write() as session:
        now = tools.database.now(session)
        dao_policy.store(session, policy.digest, tools.policy_texts, now)
        return dao_reopening.wake_put_off(session, policy.digest, now)
