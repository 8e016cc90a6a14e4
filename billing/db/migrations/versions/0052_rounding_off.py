"""Invoices to whole rupees, where a registration wants that.

Revision: 0052
Follows: 0051
"""

from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

_SWITCH = """
ALTER TABLE billing.supplier_registrations ADD COLUMN round_off boolean NOT NULL DEFAULT false
"""
_PAPERS = """
ALTER TABLE billing.{papers}
    ADD COLUMN round_off_minor bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT {adds_up},
    ADD CONSTRAINT ck_{papers}_total_adds_up
        CHECK (total_minor = taxable_minor + tax_minor + round_off_minor),
    ADD CONSTRAINT ck_{papers}_round_off_to_a_rupee CHECK (
        round_off_minor = 0 OR (currency = 'INR' AND round_off_minor BETWEEN -50 AND 50)
    )
"""


def upgrade() -> None:
    """Round-off is a part of a total beside its value and tax (Rule 46 knows no other)."""
    op.execute(_SWITCH)
    # The first schema named its constraints twice.
    for papers, adds_up in (
        ("invoices", "ck_invoices_ck_invoices_total_adds_up"),
        ("documents", "ck_documents_total_adds_up"),
    ):
        op.execute(_PAPERS.format(papers=papers, adds_up=adds_up))
