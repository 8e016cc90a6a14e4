"""Find replaced revisions by the number of the one that replaced them.

Revision: 0009
Follows: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_superseded_events_superseded_by",
        "superseded_events",
        ["shard", "superseded_by"],
        schema="usage",
    )
