"""Versions that are kept to compare prices with.

Revision: 0047
Follows: 0046
"""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

_TEMPLATES = """
ALTER TABLE billing.price_plan_versions
    ADD COLUMN template text,
    ADD CONSTRAINT ck_price_plan_versions_templates_are_not_published
        CHECK (template IS NULL OR published_at IS NULL);
CREATE UNIQUE INDEX uq_price_plan_versions_template
    ON billing.price_plan_versions (plan_id, template) WHERE status = 'draft'
"""


def upgrade() -> None:
    """Let a version have the name of a template."""
    op.execute(_TEMPLATES)
