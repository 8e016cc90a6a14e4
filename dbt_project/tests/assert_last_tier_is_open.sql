-- Units above a closed last tier would cost nothing, silently.
select rate_id
from {{ ref("int_rating__tiers") }}
group by rate_id
having count(*) filter (where up_to is null) <> 1
    or bool_or(up_to <= above)
