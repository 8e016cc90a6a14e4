"""Addresses and contacts of customers; lines found by their reference.

Revision: 0026
Follows: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def _of_customer(table: str, *columns: sa.Column[str]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        *columns,
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["billing.customers.id"], name=f"fk_{table}_customer_id"
        ),
        schema="billing",
    )
    op.create_index(f"ix_{table}_customer_id", table, ["customer_id"], schema="billing")


def upgrade() -> None:
    """Make the tables."""
    _of_customer(
        "customer_addresses",
        sa.Column("kind", sa.String(32), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("label", "address_line", "city", "postal_code")
        ),
        sa.Column("state_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=False),
    )
    op.create_check_constraint(
        "addresskind_known",
        "customer_addresses",
        "kind IN ('billing', 'shipping', 'office', 'other')",
        schema="billing",
    )
    op.create_check_constraint(
        "state_in_india",
        "customer_addresses",
        "country = 'IN' OR state_code IS NULL",
        schema="billing",
    )
    _of_customer(
        "customer_contacts",
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
    )
    op.create_check_constraint(
        "contactrole_known",
        "customer_contacts",
        "role IN ('billing', 'technical', 'legal', 'other')",
        schema="billing",
    )
    op.create_check_constraint(
        "can_be_reached",
        "customer_contacts",
        "email IS NOT NULL OR phone IS NOT NULL",
        schema="billing",
    )
    op.create_index("ix_invoice_lines_line_ref", "invoice_lines", ["line_ref"], schema="billing")
