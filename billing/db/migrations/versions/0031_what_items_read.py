"""What an item reads off its events, and other ways to make one quantity of it.

Revision: 0031
Follows: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let an item read a property of its events, and take the most, the last or different ones."""
    op.add_column("billable_items", sa.Column("property_name", sa.Text()), schema="billing")
    op.add_column("billable_items", sa.Column("conversion", sa.String(32)), schema="billing")
    op.drop_constraint("ck_billable_items_aggregation_known", "billable_items", schema="billing")
    for name, rule in (
        ("aggregation_known", "aggregation IN ('count', 'sum', 'max', 'unique', 'latest')"),
        ("conversion_known", "conversion IN ('sms_segments')"),
        (
            "aggregation_has_what_it_reads",
            (
                "CASE aggregation WHEN 'count' THEN num_nonnulls(property_name, conversion) = 0 "
                "WHEN 'unique' THEN property_name IS NOT NULL AND conversion IS NULL ELSE true END"
            ),
        ),
    ):
        op.create_check_constraint(name, "billable_items", rule, schema="billing")
