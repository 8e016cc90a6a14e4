-- The amount comes from the tiers' running total, the breakdown from the tiers one by one. Both must
-- say the same, or a customer could recompute a line and get another figure.
select
    lines.line_ref,
    lines.amount,
    sum((tier ->> 'amount')::numeric) as tiers_amount,
    sum((tier ->> 'units')::numeric) as tiers_units
from {{ ref("fct_invoice_lines") }} as lines
left join lateral jsonb_array_elements(lines.tier_breakdown) as tier on true
inner join {{ ref("stg_billing__charges") }} as charges on charges.charge_id = lines.charge_id
where charges.price_model not in ('flat', 'licence', 'one_time')
    and lines.rate_id is not null
    and {{ in_invoice_month("lines.invoice_month") }}
group by
    lines.line_ref, lines.amount, lines.quantity, lines.free_quantity, charges.price_model
having {{ stored_amount("coalesce(sum((tier ->> 'amount')::numeric), 0)") }} <> lines.amount
    or (
        charges.price_model <> 'commitment'
        and coalesce(sum((tier ->> 'units')::numeric), 0) <> lines.quantity - lines.free_quantity
    )
