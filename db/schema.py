"""All tables in one place, for migrations and for tests that compare models with them."""

from __future__ import annotations

from db import (
    types_credentials,
    types_decisions,
    types_holds,
    types_incidents,
    types_letters,
    types_messages,
    types_monitoring,
    types_supervision,
)
from db.types_common import Base

METADATA = Base.metadata
MODULES = (
    types_monitoring,
    types_messages,
    types_decisions,
    types_holds,
    types_incidents,
    types_credentials,
    types_letters,
    types_supervision,
)
