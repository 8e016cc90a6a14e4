"""What the shards of accounts are to be told of what came by another shard.

Revision: 0042
Follows: 0041
"""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE usage.account_news (
    account_id uuid CONSTRAINT pk_account_news PRIMARY KEY,
    token uuid NOT NULL,
    noted_at timestamptz NOT NULL
)
"""


def upgrade() -> None:
    """Make the table; accounts that were moved before are right with the next rebuild."""
    op.execute(_TABLE)
