"""Documents made by hand, approvals by two persons, voids, templates, e-invoices.

Revision: 0020
Follows: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INVOICES = """
ALTER TABLE billing.invoices
    ADD COLUMN origin varchar(32) NOT NULL DEFAULT 'rated'
        CONSTRAINT ck_invoices_invoiceorigin_known
        CHECK (origin IN ('rated', 'custom', 'correction')),
    ADD COLUMN document_type varchar(32) NOT NULL DEFAULT 'invoice'
        CONSTRAINT ck_invoices_document_type_of_invoices
        CHECK (document_type IN ('invoice', 'debit_note', 'bill_of_supply')),
    ADD COLUMN corrects_id uuid REFERENCES billing.invoices (id),
    ADD COLUMN remark text NOT NULL DEFAULT '',
    ADD COLUMN usage_breakdown jsonb NOT NULL DEFAULT '[]',
    ADD CONSTRAINT ck_invoices_a_debit_note_corrects
        CHECK ((document_type = 'debit_note') = (corrects_id IS NOT NULL)),
    ADD CONSTRAINT ck_invoices_void_means_nothing_settled
        CHECK (status <> 'void' OR settled_minor = 0),
    DROP CONSTRAINT uq_invoices_account_id_period_start_period_end_revision;
CREATE UNIQUE INDEX uq_invoices_rated_period
    ON billing.invoices (account_id, period_start, period_end, revision) WHERE origin = 'rated';
CREATE INDEX ix_invoices_corrects_id ON billing.invoices (corrects_id);
ALTER TABLE billing.supplier_registrations
    ADD COLUMN second_approval_above_minor bigint
        CONSTRAINT ck_supplier_registrations_limit_not_negative
        CHECK (second_approval_above_minor >= 0)
"""

_BESIDE_INVOICES = """
CREATE TABLE billing.turnovers (
    pan text NOT NULL,
    financial_year text NOT NULL,
    crore numeric(38, 12) NOT NULL
        CONSTRAINT ck_turnovers_not_negative CHECK (crore >= 0),
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT pk_turnovers PRIMARY KEY (pan, financial_year)
);
CREATE TABLE billing.invoice_approvals (
    invoice_id uuid NOT NULL REFERENCES billing.invoices (id) ON DELETE CASCADE,
    approved_by text NOT NULL,
    content_hash text NOT NULL,
    approved_at timestamptz NOT NULL,
    CONSTRAINT pk_invoice_approvals PRIMARY KEY (invoice_id, approved_by)
);
CREATE TABLE billing.invoice_deliveries (
    id uuid CONSTRAINT pk_invoice_deliveries PRIMARY KEY,
    invoice_id uuid NOT NULL REFERENCES billing.invoices (id),
    channel text NOT NULL,
    recipient text NOT NULL,
    recorded_by text NOT NULL,
    sent_at timestamptz NOT NULL
);
CREATE INDEX ix_invoice_deliveries_invoice_id ON billing.invoice_deliveries (invoice_id);
CREATE TABLE billing.invoice_voids (
    invoice_id uuid CONSTRAINT pk_invoice_voids PRIMARY KEY REFERENCES billing.invoices (id),
    reason text NOT NULL,
    voided_by text NOT NULL,
    voided_at timestamptz NOT NULL
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoice_voids
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoice_deliveries
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TABLE billing.custom_charges (
    id uuid CONSTRAINT pk_custom_charges PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES billing.accounts (id),
    invoice_month date NOT NULL CONSTRAINT ck_custom_charges_month_by_first_day
        CHECK (extract(day FROM invoice_month) = 1),
    description text NOT NULL,
    sac text NOT NULL,
    quantity numeric(38, 12) NOT NULL CONSTRAINT ck_custom_charges_some CHECK (quantity > 0),
    unit text NOT NULL,
    unit_price numeric(38, 12) NOT NULL
        CONSTRAINT ck_custom_charges_price_not_negative CHECK (unit_price >= 0),
    amount_minor bigint NOT NULL
        CONSTRAINT ck_custom_charges_amount_positive CHECK (amount_minor > 0),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    cancelled_at timestamptz
);
CREATE INDEX ix_custom_charges_account_id ON billing.custom_charges (account_id, invoice_month)
"""

# A document that was numbered stays in its series for ever, so only a status may say void.
_VOID = """
CREATE FUNCTION billing.refuse_void_of_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'void' AND OLD.status IS DISTINCT FROM 'void' THEN
        IF OLD.status <> 'due' THEN
            RAISE EXCEPTION 'invoice % is % and cannot become void', OLD.id, OLD.status
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF EXISTS (SELECT 1 FROM billing.documents WHERE invoice_id = NEW.id)
                OR EXISTS (SELECT 1 FROM billing.invoices
                    WHERE corrects_id = NEW.id AND status <> 'void') THEN
            RAISE EXCEPTION 'invoice % has notes and cannot become void', OLD.number
                USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF OLD.status = 'void' AND NEW.status <> 'void' THEN
        RAISE EXCEPTION 'invoice % is void and stays so', OLD.number
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_void_of_used BEFORE UPDATE OF status ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_void_of_used()
"""

_PROFORMA = """
ALTER TABLE billing.documents DROP CONSTRAINT ck_documents_documentkind_known;
ALTER TABLE billing.documents ADD CONSTRAINT ck_documents_documentkind_known CHECK (kind IN
    ('credit_note', 'financial_credit_note', 'receipt_voucher', 'refund_voucher', 'proforma'));
CREATE OR REPLACE FUNCTION billing.refuse_in_locked_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE first_day date;
BEGIN
    IF TG_TABLE_NAME = 'invoices' THEN
        IF NEW.status = 'draft' THEN
            RETURN NEW;
        END IF;
        -- Later payments may come; only issuing and voiding change the return.
        IF TG_OP = 'UPDATE' AND OLD.status <> 'draft'
                AND (NEW.status = 'void') = (OLD.status = 'void') THEN
            RETURN NEW;
        END IF;
    ELSIF NEW.kind IN ('financial_credit_note', 'proforma') THEN
        RETURN NEW;
    END IF;
    first_day := date_trunc('month', NEW.issue_date::timestamp)::date;
    PERFORM pg_advisory_xact_lock_shared(
        billing.return_period_key(NEW.supplier_gstin, first_day));
    IF EXISTS (SELECT 1 FROM billing.return_periods
            WHERE gstin = NEW.supplier_gstin AND month = first_day) THEN
        RAISE EXCEPTION 'the return of % for % is locked', to_char(first_day, 'YYYY-MM'),
            NEW.supplier_gstin USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""

_TEMPLATES = """
CREATE TABLE billing.template_logos (
    sha256 text CONSTRAINT pk_template_logos PRIMARY KEY,
    media_type text NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE billing.document_templates (
    supplier_gstin text NOT NULL,
    version integer NOT NULL,
    content jsonb NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_document_templates PRIMARY KEY (supplier_gstin, version)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.template_logos
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.document_templates
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change()
"""

_EINVOICES = """
CREATE TABLE billing.einvoices (
    id uuid CONSTRAINT pk_einvoices PRIMARY KEY,
    invoice_id uuid CONSTRAINT uq_einvoices_invoice_id UNIQUE REFERENCES billing.invoices (id),
    document_id uuid CONSTRAINT uq_einvoices_document_id UNIQUE REFERENCES billing.documents (id),
    irn text NOT NULL CONSTRAINT uq_einvoices_irn UNIQUE,
    number text NOT NULL,
    issue_date date NOT NULL,
    state varchar(32) NOT NULL CONSTRAINT ck_einvoices_einvoicestate_known
        CHECK (state IN ('waiting', 'unknown', 'registered', 'refused', 'cancelled')),
    payload jsonb NOT NULL,
    report_by date,
    attempts bigint NOT NULL,
    ack_number text,
    acknowledged_at timestamptz,
    signed_invoice text,
    signed_qr text,
    error_code text,
    error text,
    cancel_reason bigint,
    cancel_remark text,
    cancelled_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT ck_einvoices_of_one_document
        CHECK ((invoice_id IS NULL) <> (document_id IS NULL)),
    CONSTRAINT ck_einvoices_registered_means_signed CHECK (state <> 'registered'
        OR (ack_number IS NOT NULL AND acknowledged_at IS NOT NULL AND signed_qr IS NOT NULL))
);
CREATE INDEX ix_einvoices_state ON billing.einvoices (state, created_at)
"""


def upgrade() -> None:
    op.execute(_INVOICES)
    op.execute(_BESIDE_INVOICES)
    op.execute(_VOID)
    op.execute(_PROFORMA)
    op.execute(_TEMPLATES)
    op.execute(_EINVOICES)
