"""Segments whose periods are others than their subscription began with.

Revision: 0037
Follows: 0036
"""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_CYCLES = """
ALTER TABLE billing.subscription_segments
    ADD COLUMN interval varchar(32) CONSTRAINT ck_subscription_segments_interval_known
        CHECK (interval IN ('week', 'month', 'quarter', 'half_year', 'year')),
    ADD COLUMN anchor_day integer CONSTRAINT ck_subscription_segments_anchor_in_month
        CHECK (anchor_day BETWEEN 1 AND 31),
    ADD COLUMN anchor_month integer CONSTRAINT ck_subscription_segments_anchor_in_year
        CHECK (anchor_month BETWEEN 1 AND 12),
    ADD CONSTRAINT ck_subscription_segments_anchor_in_week
        CHECK (interval <> 'week' OR anchor_day <= 7),
    ADD CONSTRAINT ck_subscription_segments_whole_cycle
        CHECK (num_nonnulls(interval, anchor_day, anchor_month) IN (0, 3))
"""


def upgrade() -> None:
    """Let a segment say its interval and anchor."""
    op.execute(_CYCLES)
