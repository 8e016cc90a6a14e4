"""Licences whose seats have tiers.

Revision: 0045
Follows: 0044
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_MODE = """
ALTER TABLE billing.charges
    ADD COLUMN tier_mode varchar(32)
        CONSTRAINT ck_charges_tier_mode_known CHECK (tier_mode IN ('graduated', 'volume')),
    ADD CONSTRAINT ck_charges_only_licences_have_tier_modes
        CHECK (tier_mode IS NULL OR price_model = 'licence')
"""


def upgrade() -> None:
    """Let a licence say how its seats choose among tiers."""
    op.execute(_MODE)
