"""Prices per period that are billed with the period before.

Revision: 0030
Follows: 0029
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_TIMING = """
ALTER TABLE billing.charges
    ADD COLUMN timing varchar(32) NOT NULL DEFAULT 'arrears'
        CONSTRAINT ck_charges_timing_known CHECK (timing IN ('arrears', 'advance')),
    ADD CONSTRAINT ck_charges_only_periods_in_advance
        CHECK (timing = 'arrears' OR price_model IN ('flat', 'licence'))
"""


def upgrade() -> None:
    """Let a charge say with which invoice it comes."""
    op.execute(_TIMING)
