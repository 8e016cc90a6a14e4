"""Plans of one family, from good to best.

Revision: 0039
Follows: 0038
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_FAMILIES = """
ALTER TABLE billing.price_plans
    ADD COLUMN family text,
    ADD COLUMN tier integer CONSTRAINT ck_price_plans_tier_positive CHECK (tier > 0),
    ADD CONSTRAINT ck_price_plans_tier_of_family CHECK (num_nonnulls(family, tier) IN (0, 2)),
    ADD CONSTRAINT uq_price_plans_family_tier UNIQUE (family, tier)
"""


def upgrade() -> None:
    """Let a plan be a tier of a family."""
    op.execute(_FAMILIES)
