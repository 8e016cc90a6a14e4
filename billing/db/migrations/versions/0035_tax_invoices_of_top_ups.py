"""Wallets whose top-ups have a tax invoice each, and statements of what was used.

Revision: 0035
Follows: 0034
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_CHANGES = """
ALTER TABLE billing.wallets
    DROP CONSTRAINT ck_wallets_advancepolicy_known,
    ADD CONSTRAINT ck_wallets_advancepolicy_known
        CHECK (advance_policy IN ('receipt_voucher', 'tax_invoice_at_top_up', 'deposit'));
ALTER TABLE billing.invoices
    ADD COLUMN ledger_transaction_id uuid
        CONSTRAINT fk_invoices_ledger_transaction_id REFERENCES billing.ledger_transactions (id),
    ADD CONSTRAINT uq_invoices_ledger_transaction_id UNIQUE (ledger_transaction_id),
    DROP CONSTRAINT ck_invoices_invoiceorigin_known,
    ADD CONSTRAINT ck_invoices_invoiceorigin_known
        CHECK (origin IN ('rated', 'custom', 'correction', 'top_up')),
    ADD CONSTRAINT ck_invoices_a_top_up_was_posted
        CHECK ((origin = 'top_up') = (ledger_transaction_id IS NOT NULL)),
    DROP CONSTRAINT ck_invoices_document_type_of_invoices,
    ADD CONSTRAINT ck_invoices_document_type_of_invoices
        CHECK (document_type IN ('invoice', 'debit_note', 'bill_of_supply', 'statement')),
    ADD CONSTRAINT ck_invoices_no_tax_twice
        CHECK (document_type <> 'statement' OR tax_minor = 0);
ALTER TABLE billing.documents
    DROP CONSTRAINT ck_documents_a_voucher_has_a_posting,
    ADD CONSTRAINT ck_documents_a_voucher_has_a_posting CHECK (
        CASE WHEN kind IN ('receipt_voucher', 'refund_voucher')
            THEN ledger_transaction_id IS NOT NULL
            ELSE ledger_transaction_id IS NULL OR kind = 'credit_note' END)
"""


def upgrade() -> None:
    """Let the policy be chosen, and its papers be kept."""
    op.execute(_CHANGES)
