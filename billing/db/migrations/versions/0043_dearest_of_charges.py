"""Charges of which only the dearest is billed.

Revision: 0043
Follows: 0042
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_GROUP = """
ALTER TABLE billing.charges
    ADD COLUMN dearest_of text,
    ADD CONSTRAINT ck_charges_dearest_of_usage CHECK (
        dearest_of IS NULL OR free_pool IS NULL
        AND price_model NOT IN ('flat', 'licence', 'one_time', 'commitment')
    )
"""


def upgrade() -> None:
    """Let charges of a version name a group."""
    op.execute(_GROUP)
