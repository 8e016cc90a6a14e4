"""Months whose return is locked, and documents kept out of them.

Revision: 0017
Follows: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_PERIODS = """
CREATE TABLE billing.return_periods (
    gstin text NOT NULL,
    month date NOT NULL CONSTRAINT ck_return_periods_month_by_first_day
        CHECK (extract(day FROM month) = 1),
    locked_at timestamptz NOT NULL,
    locked_by text NOT NULL,
    return_sha256 text NOT NULL,
    CONSTRAINT pk_return_periods PRIMARY KEY (gstin, month)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.return_periods
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE FUNCTION billing.return_period_key(gstin text, month date) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT hashtextextended('return_period ' || gstin || to_char(month, ' YYYY-MM'), 0) $$
"""

# Issuing shares the month, locking has it alone: a lock waits for what is being issued.
_KEPT_OUT = """
CREATE FUNCTION billing.refuse_in_locked_period() RETURNS trigger LANGUAGE plpgsql AS $$
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
    ELSIF NEW.kind = 'financial_credit_note' THEN
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
END $$;
CREATE TRIGGER refuse_in_locked_period BEFORE INSERT OR UPDATE OF status ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_in_locked_period();
CREATE TRIGGER refuse_in_locked_period BEFORE INSERT ON billing.documents
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_in_locked_period()
"""


def upgrade() -> None:
    op.execute(_PERIODS)
    op.execute(_KEPT_OUT)
