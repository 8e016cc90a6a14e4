"""Documents by mail: who wants them, to whom they went, and the PDF that goes along.

Revision: 0032
Follows: 0031
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE billing.customers ADD COLUMN documents_by_mail boolean NOT NULL DEFAULT true;
ALTER TABLE billing.customer_contacts ADD COLUMN gets_documents boolean NOT NULL DEFAULT true;
CREATE TABLE billing.document_mailings (
    id uuid CONSTRAINT pk_document_mailings PRIMARY KEY,
    kind varchar(32) NOT NULL
        CONSTRAINT ck_document_mailings_mailingkind_known CHECK (kind IN ('issued', 'resent')),
    invoice_id uuid
        CONSTRAINT fk_document_mailings_invoice_id REFERENCES billing.invoices (id),
    document_id uuid
        CONSTRAINT fk_document_mailings_document_id REFERENCES billing.documents (id),
    recipients jsonb NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT ck_document_mailings_of_one_document
        CHECK ((invoice_id IS NULL) <> (document_id IS NULL))
);
CREATE INDEX ix_document_mailings_invoice_id ON billing.document_mailings (invoice_id);
CREATE INDEX ix_document_mailings_document_id ON billing.document_mailings (document_id);
CREATE UNIQUE INDEX uq_document_mailings_invoice_issued
    ON billing.document_mailings (invoice_id) WHERE kind = 'issued';
CREATE UNIQUE INDEX uq_document_mailings_document_issued
    ON billing.document_mailings (document_id) WHERE kind = 'issued';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.document_mailings
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TABLE billing.mail_attachments (
    mail_id uuid CONSTRAINT pk_mail_attachments PRIMARY KEY
        CONSTRAINT fk_mail_attachments_mail_id REFERENCES billing.mails (id),
    file_name text NOT NULL,
    invoice_id uuid
        CONSTRAINT fk_mail_attachments_invoice_id
        REFERENCES billing.invoice_documents (invoice_id),
    document_id uuid
        CONSTRAINT fk_mail_attachments_document_id
        REFERENCES billing.document_files (document_id),
    CONSTRAINT ck_mail_attachments_of_one_document
        CHECK ((invoice_id IS NULL) <> (document_id IS NULL))
)
"""


def upgrade() -> None:
    """Make them; nothing that was issued before is mailed by itself after a week."""
    op.execute(_TABLES)
