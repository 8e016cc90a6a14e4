-- The stretches of days over which an account's charge has the same rates: one, unless a deck's
-- versions or an agreement with the account begin or end. Accounts without an agreement share what
-- their rates match (`override_account_id` is null).
with charges as (
    select distinct account_id, charge_id from {{ ref("int_rating__segment_charges") }}
),

stretches as (
    select distinct charge_id, account_id, valid_from, valid_to from {{ ref("int_rating__rates") }}
),

concerned as (
    select
        charges.account_id,
        charges.charge_id,
        stretches.account_id as override_account_id,
        stretches.valid_from,
        stretches.valid_to
    from charges
    inner join stretches
        on stretches.charge_id = charges.charge_id
        and (stretches.account_id is null or stretches.account_id = charges.account_id)
),

bounds as (
    select account_id, charge_id, '-infinity'::date as era_from from charges
    union
    select account_id, charge_id, valid_from from concerned
    union
    select account_id, charge_id, valid_to from concerned where valid_to < 'infinity'::date
),

agreed as (
    select distinct charge_id, override_account_id
    from concerned
    where override_account_id is not null
)

select
    bounds.account_id,
    bounds.charge_id,
    agreed.override_account_id,
    bounds.era_from,
    coalesce(
        lead(bounds.era_from) over (
            partition by bounds.account_id, bounds.charge_id order by bounds.era_from
        ),
        'infinity'::date
    ) as era_to
from bounds
left join agreed
    on agreed.charge_id = bounds.charge_id and agreed.override_account_id = bounds.account_id
