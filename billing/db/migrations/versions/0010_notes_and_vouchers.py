"""Credit notes, receipt vouchers and refund vouchers, frozen when issued.

Revision: 0010
Follows: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DOCUMENTS = """
CREATE TABLE billing.documents (
    id uuid PRIMARY KEY,
    kind varchar(32) NOT NULL CONSTRAINT ck_documents_documentkind_known CHECK (kind IN
        ('credit_note', 'financial_credit_note', 'receipt_voucher', 'refund_voucher')),
    number text NOT NULL CONSTRAINT ck_documents_number_allowed_by_rule_46
        CHECK (number ~ '^[A-Z1-9][A-Z0-9/-]{0,15}$'),
    issue_date date NOT NULL,
    supplier_gstin text NOT NULL,
    customer_id uuid NOT NULL REFERENCES billing.customers (id),
    account_id uuid NOT NULL REFERENCES billing.accounts (id),
    currency text NOT NULL REFERENCES billing.currencies (code),
    taxable_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    reason text NOT NULL,
    invoice_id uuid REFERENCES billing.invoices (id),
    ledger_transaction_id uuid REFERENCES billing.ledger_transactions (id),
    applied_minor bigint NOT NULL,
    snapshot jsonb NOT NULL,
    snapshot_hash text NOT NULL,
    issued_by text NOT NULL,
    issued_at timestamptz NOT NULL,
    CONSTRAINT uq_documents_supplier_gstin_number UNIQUE (supplier_gstin, number),
    CONSTRAINT uq_documents_ledger_transaction_id UNIQUE (ledger_transaction_id),
    CONSTRAINT ck_documents_total_adds_up CHECK (total_minor = taxable_minor + tax_minor),
    CONSTRAINT ck_documents_amounts_not_negative CHECK (taxable_minor > 0 AND tax_minor >= 0),
    CONSTRAINT ck_documents_applied_within_total
        CHECK (applied_minor BETWEEN 0 AND total_minor),
    CONSTRAINT ck_documents_a_note_has_an_invoice CHECK (
        (kind IN ('credit_note', 'financial_credit_note')) = (invoice_id IS NOT NULL)),
    CONSTRAINT ck_documents_a_voucher_has_a_posting CHECK (
        (kind IN ('receipt_voucher', 'refund_voucher')) = (ledger_transaction_id IS NOT NULL)),
    CONSTRAINT ck_documents_no_tax_after_the_limit
        CHECK (kind <> 'financial_credit_note' OR tax_minor = 0)
);
CREATE INDEX ix_documents_customer_id ON billing.documents (customer_id, id);
CREATE INDEX ix_documents_invoice_id ON billing.documents (invoice_id);

CREATE TABLE billing.document_lines (
    document_id uuid NOT NULL REFERENCES billing.documents (id),
    ordinal integer NOT NULL,
    invoice_line_id uuid REFERENCES billing.invoice_lines (id),
    description text NOT NULL,
    sac text NOT NULL,
    taxable_minor bigint NOT NULL
        CONSTRAINT ck_document_lines_taxable_positive CHECK (taxable_minor > 0),
    taxes jsonb NOT NULL,
    PRIMARY KEY (document_id, ordinal)
);
CREATE INDEX ix_document_lines_invoice_line_id ON billing.document_lines (invoice_line_id);

CREATE TABLE billing.document_files (
    document_id uuid PRIMARY KEY REFERENCES billing.documents (id),
    sha256 text NOT NULL,
    content bytea NOT NULL,
    rendered_at timestamptz NOT NULL
)
"""

_FROZEN = """
CREATE FUNCTION billing.refuse_change_of_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(OLD) - 'applied_minor' <> to_jsonb(NEW) - 'applied_minor' THEN
        RAISE EXCEPTION 'document % is issued and frozen', OLD.number
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.documents
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_document();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.document_lines
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.document_files
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change()
"""

_ADDS_UP = """
CREATE FUNCTION billing.document_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lines bigint; taxes bigint;
BEGIN
    SELECT coalesce(sum(l.taxable_minor), 0), coalesce(sum(
        (SELECT coalesce(sum((t ->> 'tax_minor')::bigint), 0)
         FROM jsonb_array_elements(l.taxes) t)), 0)
    INTO lines, taxes FROM billing.document_lines l WHERE l.document_id = NEW.id;
    IF (lines, taxes) <> (NEW.taxable_minor, NEW.tax_minor) THEN
        RAISE EXCEPTION 'document % does not add up: lines %, taxes %', NEW.number, lines, taxes
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER document_adds_up
    AFTER INSERT ON billing.documents DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.document_adds_up();

-- All notes together take back no more of a line than the invoice said.
CREATE FUNCTION billing.notes_within_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE taken bigint; invoiced bigint;
BEGIN
    IF NEW.invoice_line_id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT amount_minor INTO invoiced FROM billing.invoice_lines
    WHERE id = NEW.invoice_line_id;
    SELECT sum(taxable_minor) INTO taken FROM billing.document_lines
    WHERE invoice_line_id = NEW.invoice_line_id;
    IF taken > invoiced THEN
        RAISE EXCEPTION 'credit notes take % of an invoice line of %', taken, invoiced
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER notes_within_line
    AFTER INSERT ON billing.document_lines DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.notes_within_line()
"""

_KINDS = (
    "usage", "top_up", "promotion", "amendment", "true_up", "correction", "invoice", "refund",
    "credit_note",
)  # fmt: skip
_TABLES = ("ledger_transactions", "wallet_adjustments")


def upgrade() -> None:
    op.execute(_DOCUMENTS)
    op.execute(_FROZEN)
    op.execute(_ADDS_UP)
    known = ", ".join(f"'{kind}'" for kind in _KINDS)
    for table in _TABLES:
        name = f"ck_{table}_ledgerkind_known"
        op.execute(
            f"ALTER TABLE billing.{table} DROP CONSTRAINT {name}, "
            f"ADD CONSTRAINT {name} CHECK (kind IN ({known}))"
        )
