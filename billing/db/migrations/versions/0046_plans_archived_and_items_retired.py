"""Plans that are archived, items that are retired, and drafts that are given up.

Revision: 0046
Follows: 0045
"""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_ENDS = """
ALTER TABLE billing.billable_items ADD COLUMN retired_at timestamptz;
ALTER TABLE billing.price_plans ADD COLUMN archived_at timestamptz;
ALTER TABLE billing.price_plan_versions
    DROP CONSTRAINT ck_price_plan_versions_versionstatus_known,
    DROP CONSTRAINT ck_price_plan_versions_ck_price_plan_versions_published_7481,
    ADD CONSTRAINT ck_price_plan_versions_versionstatus_known
        CHECK (status IN ('draft', 'active', 'archived', 'discarded')),
    ADD CONSTRAINT ck_price_plan_versions_published_unless_draft
        CHECK ((status IN ('draft', 'discarded')) = (published_at IS NULL))
"""


def upgrade() -> None:
    """Let plans, items and drafts come to an end without being deleted."""
    op.execute(_ENDS)
