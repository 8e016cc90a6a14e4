"""How old a rate of exchange may be on a document that no person looks at for it.

Revision: 0050
Follows: 0049
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

_LIMIT = """
ALTER TABLE billing.supplier_registrations
    ADD COLUMN oldest_fx_rate_days integer NOT NULL DEFAULT 7
        CONSTRAINT ck_supplier_registrations_oldest_fx_rate_not_negative
            CHECK (oldest_fx_rate_days >= 0)
"""


def upgrade() -> None:
    """A registration says so, seven days unless it is changed."""
    op.execute(_LIMIT)
