"""Count how often a writer took up a shard's journal.

Revision: 0012
Follows: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "shard_state",
        sa.Column("session", sa.BigInteger(), nullable=False, server_default="0"),
        schema="usage",
    )
