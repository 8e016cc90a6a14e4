"""Adding up an invoice takes its own lines and taxes, whatever the planner knows of the tables.

A month's drafts are checked as they are committed, before anything has counted their rows. The join
that summed the taxes was planned for few of them and then read all of them for each invoice.

Revision: 0044
Follows: 0043
"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_ADDS_UP = """
CREATE OR REPLACE FUNCTION billing.invoice_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lines bigint; taxes bigint; allocated bigint; current record;
BEGIN
    SELECT taxable_minor, tax_minor, settled_minor INTO current
    FROM billing.invoices WHERE id = NEW.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- One line at a time by the index of its taxes: a join could be made of the whole tables.
    SELECT coalesce(sum(l.amount_minor), 0), coalesce(sum((
            SELECT sum(t.tax_minor) FROM billing.tax_lines t WHERE t.invoice_line_id = l.id
        )), 0)
    INTO lines, taxes
    FROM billing.invoice_lines l WHERE l.invoice_id = NEW.id;
    SELECT coalesce(sum(amount_minor), 0) INTO allocated
    FROM billing.invoice_allocations WHERE invoice_id = NEW.id;
    IF (lines, taxes, allocated)
            <> (current.taxable_minor, current.tax_minor, current.settled_minor) THEN
        RAISE EXCEPTION 'invoice % does not add up: lines %, taxes %, allocations %',
            NEW.id, lines, taxes, allocated USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Replace the function; the triggers that call it stay."""
    op.execute(_ADDS_UP)
