"""What lines of issued invoices come to when their month is rated again.

Revision: 0051
Follows: 0050
"""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE billing.rerated_lines (
    invoice_id uuid NOT NULL
        CONSTRAINT fk_rerated_lines_invoice_id REFERENCES billing.invoices (id),
    line_ref text NOT NULL,
    account_id uuid NOT NULL
        CONSTRAINT fk_rerated_lines_account_id REFERENCES billing.accounts (id),
    description text NOT NULL,
    item_code text NOT NULL,
    sac text NOT NULL,
    period_start date NOT NULL,
    period_end date NOT NULL,
    rated_minor bigint NOT NULL
        CONSTRAINT ck_rerated_lines_not_negative CHECK (rated_minor >= 0),
    rating_run_id uuid NOT NULL
        CONSTRAINT fk_rerated_lines_rating_run_id REFERENCES billing.rating_runs (id),
    CONSTRAINT pk_rerated_lines PRIMARY KEY (invoice_id, line_ref)
)
"""

_NOTES = """
ALTER TABLE billing.documents
    ADD COLUMN for_usage boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT ck_documents_only_notes_are_for_usage
        CHECK (NOT for_usage OR kind IN ('credit_note', 'financial_credit_note'))
"""


def upgrade() -> None:
    """Keep what is rated after issue, and which notes gave the difference back."""
    op.execute(_TABLE)
    op.execute(_NOTES)
