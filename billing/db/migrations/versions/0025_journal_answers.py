"""Whether an account's events may be answered that only the journal has.

Revision: 0025
Follows: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing said: as the server is configured."""
    op.add_column("accounts", sa.Column("journal_answers", sa.Boolean()), schema="billing")
