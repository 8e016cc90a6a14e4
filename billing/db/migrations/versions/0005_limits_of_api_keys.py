"""Let an API key have limits of its own.

Revision: 0005
Follows: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("events_per_second", "requests_per_minute"):
        op.add_column("api_keys", sa.Column(name, sa.Integer(), nullable=True), schema="billing")
        op.create_check_constraint(
            f"{name}_is_positive", "api_keys", f"{name} > 0", schema="billing"
        )
