"""Holds of authorisations, which only Redis had.

Revision: 0041
Follows: 0040
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE usage.holds (
    name text CONSTRAINT pk_holds PRIMARY KEY,
    account_id uuid NOT NULL,
    wallet_id uuid,
    state varchar(32) NOT NULL CONSTRAINT ck_holds_holdstate_known
        CHECK (state IN ('open', 'captured', 'released', 'expired')),
    amount_units bigint NOT NULL,
    body_hash text NOT NULL,
    balance_units bigint NOT NULL,
    available_units bigint NOT NULL,
    verdict text NOT NULL,
    quotas jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    resolved_at timestamptz,
    CONSTRAINT ck_holds_ended_at_some_time CHECK ((state = 'open') = (resolved_at IS NULL))
);
CREATE INDEX ix_holds_open ON usage.holds (account_id) WHERE state = 'open';
CREATE INDEX ix_holds_resolved_at ON usage.holds (resolved_at) WHERE resolved_at IS NOT NULL
"""


def upgrade() -> None:
    """Make the table; holds that are open now are known to Redis alone, until they end."""
    op.execute(_TABLE)
