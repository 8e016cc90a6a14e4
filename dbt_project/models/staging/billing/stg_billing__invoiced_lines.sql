select
    invoices.invoice_month,
    lines.line_ref,
    left(lines.line_ref, 45) as line_period,
    substr(lines.line_ref, 47) as line_key,
    lines.amount_minor,
    invoices.currency,
    lines.tier_breakdown
from {{ source('billing', 'invoices') }} as invoices
inner join {{ source('billing', 'invoice_lines') }} as lines on lines.invoice_id = invoices.id
where invoices.origin = 'rated' and invoices.status <> 'void'
