"""Certificates of tax that customers deducted, and the settlement lines they prove.

Revision: 0027
Follows: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE billing.tds_certificates (
    id uuid CONSTRAINT pk_tds_certificates PRIMARY KEY,
    customer_id uuid NOT NULL
        CONSTRAINT fk_tds_certificates_customer_id REFERENCES billing.customers (id),
    number text NOT NULL,
    form text NOT NULL,
    amount_minor bigint NOT NULL,
    issued_on date NOT NULL,
    note text NOT NULL,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT uq_tds_certificates_customer_id_number UNIQUE (customer_id, number)
);
CREATE TABLE billing.tds_certificate_lines (
    settlement_line_id uuid CONSTRAINT pk_tds_certificate_lines PRIMARY KEY
        CONSTRAINT fk_tds_certificate_lines_settlement_line_id
        REFERENCES billing.invoice_allocations (id),
    certificate_id uuid NOT NULL
        CONSTRAINT fk_tds_certificate_lines_certificate_id
        REFERENCES billing.tds_certificates (id)
);
CREATE INDEX ix_tds_certificate_lines_certificate_id
    ON billing.tds_certificate_lines (certificate_id)
"""


def upgrade() -> None:
    """Make their tables."""
    op.execute(_TABLES)
