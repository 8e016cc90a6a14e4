-- A change of quantity within a period splits it into segments of the same rate; the allowance must
-- not be given to each of them.
select
    lines.billing_period_id,
    lines.rate_id,
    sum(lines.free_quantity) as given
from {{ ref("fct_invoice_lines") }} as lines
inner join {{ ref("stg_billing__charges") }} as charges on charges.charge_id = lines.charge_id
where charges.price_model not in ('flat', 'licence', 'one_time', 'percentage', 'commitment')
    and lines.rate_id is not null
    and charges.free_pool is null
    and {{ in_invoice_month("lines.invoice_month") }}
group by lines.billing_period_id, lines.charge_id, lines.rate_id, charges.free_units
having sum(lines.free_quantity) <> least(charges.free_units, sum(lines.quantity))
