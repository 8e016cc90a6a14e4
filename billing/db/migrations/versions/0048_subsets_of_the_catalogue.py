"""Parts of the catalogue that some customers are offered.

Revision: 0048
Follows: 0047
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

_SUBSETS = """
CREATE TABLE billing.catalogue_subsets (
    id uuid CONSTRAINT pk_catalogue_subsets PRIMARY KEY,
    code text NOT NULL CONSTRAINT uq_catalogue_subsets_code UNIQUE,
    name text NOT NULL,
    is_exclusive boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE TABLE billing.catalogue_subset_entries (
    id uuid CONSTRAINT pk_catalogue_subset_entries PRIMARY KEY,
    subset_id uuid NOT NULL CONSTRAINT fk_catalogue_subset_entries_subset_id
        REFERENCES billing.catalogue_subsets (id),
    plan_id uuid CONSTRAINT fk_catalogue_subset_entries_plan_id
        REFERENCES billing.price_plans (id),
    family text,
    CONSTRAINT ck_catalogue_subset_entries_plan_or_family
        CHECK (num_nonnulls(plan_id, family) = 1)
);
CREATE INDEX ix_catalogue_subset_entries_subset_id
    ON billing.catalogue_subset_entries (subset_id);
CREATE TABLE billing.catalogue_subset_customers (
    subset_id uuid NOT NULL CONSTRAINT fk_catalogue_subset_customers_subset_id
        REFERENCES billing.catalogue_subsets (id),
    customer_id uuid NOT NULL CONSTRAINT fk_catalogue_subset_customers_customer_id
        REFERENCES billing.customers (id),
    CONSTRAINT pk_catalogue_subset_customers PRIMARY KEY (subset_id, customer_id)
);
CREATE INDEX ix_catalogue_subset_customers_customer_id
    ON billing.catalogue_subset_customers (customer_id)
"""


def upgrade() -> None:
    """Let subsets of the catalogue be offered to customers."""
    op.execute(_SUBSETS)
