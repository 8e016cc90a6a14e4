"""Prices by the tier that holds all of a quantity.

Revision: 0018
Follows: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_MODELS = "price_model IN ('flat', 'per_unit', 'graduated', 'package', 'volume', 'stairstep')"


def upgrade() -> None:
    """Let charges have them."""
    op.drop_constraint("ck_charges_pricemodel_known", "charges", schema="billing")
    op.create_check_constraint("pricemodel_known", "charges", _MODELS, schema="billing")
