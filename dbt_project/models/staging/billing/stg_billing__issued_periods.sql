with invoices as (
    select
        invoices.id,
        invoices.account_id,
        invoices.invoice_month,
        invoices.period_start,
        invoices.period_end,
        runs.started_at as rated_at
    from {{ source('billing', 'invoices') }} as invoices
    inner join {{ source('billing', 'rating_runs') }} as runs on runs.id = invoices.rating_run_id
    where invoices.origin = 'rated' and invoices.status in ('due', 'paid')
)

select account_id, invoice_month, period_start, period_end, rated_at from invoices
union
select lines.account_id, invoice_month, invoices.period_start, invoices.period_end, rated_at
from invoices
inner join {{ source('billing', 'invoice_lines') }} as lines on lines.invoice_id = invoices.id
where lines.account_id is not null
