"""Each conflict is kept once, and what was set aside can be mended and settled.

Revision: 0008
Follows: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_FIRST_OF_EACH = """
ALTER TABLE usage.event_conflicts DISABLE TRIGGER USER;
DELETE FROM usage.event_conflicts later USING usage.event_conflicts first
WHERE (first.source, first.event_id, first.body_hash)
    = (later.source, later.event_id, later.body_hash) AND first.id < later.id;
ALTER TABLE usage.event_conflicts ENABLE TRIGGER USER
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(_FIRST_OF_EACH)
    op.create_unique_constraint(
        "uq_event_conflicts_source_event_id_body_hash",
        "event_conflicts",
        ["source", "event_id", "body_hash"],
        schema="usage",
    )
    for name in ("source", "event_id", "event", "settled_by", "note"):
        op.add_column("quarantine", sa.Column(name, sa.Text()), schema="usage")
    op.add_column(
        "quarantine",
        sa.Column("status", sa.String(32), nullable=False, server_default="open"),
        schema="usage",
    )
    op.alter_column("quarantine", "status", server_default=None, schema="usage")
    op.add_column("quarantine", sa.Column("settled_at", sa.DateTime(timezone=True)), schema="usage")
    op.create_check_constraint(
        "quarantinestatus_known",
        "quarantine",
        "status IN ('open', 'replayed', 'discarded')",
        schema="usage",
    )
    op.create_check_constraint(
        "settled_by_somebody",
        "quarantine",
        "num_nulls(settled_at, settled_by) = CASE status WHEN 'open' THEN 2 ELSE 0 END",
        schema="usage",
    )
    op.create_index(
        "ix_quarantine_source_event_id", "quarantine", ["source", "event_id"], schema="usage"
    )
