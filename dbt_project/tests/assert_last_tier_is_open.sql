-- Units above a closed last tier would cost nothing, silently.
select charge_id, rate_id
from {{ ref("int_rating__tiers") }}
group by charge_id, rate_id
having count(*) filter (where up_to is null) <> 1
    or bool_or(up_to <= above)
