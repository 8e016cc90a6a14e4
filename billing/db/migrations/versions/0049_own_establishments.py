"""Establishments of our own abroad, which no export can be made to.

Revision: 0049
Follows: 0048
"""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

_MARK = """
ALTER TABLE billing.tax_profiles
    ADD COLUMN own_establishment boolean NOT NULL DEFAULT false
        CONSTRAINT ck_tax_profiles_own_establishment_is_abroad
            CHECK (NOT own_establishment OR tax_kind = 'overseas')
"""


def upgrade() -> None:
    """Let a tax profile say that the customer is an establishment of our own."""
    op.execute(_MARK)
