{{ config(materialized="view") }}

-- Wallet sides of ledger entries with the local day they were recorded on.
with entries as (
    select * from {{ ref("stg_billing__ledger_entries") }} where ledger_account = 'wallet'
),

transactions as (select * from {{ ref("stg_billing__ledger_transactions") }}),

wallets as (select * from {{ ref("stg_billing__wallets") }}),

accounts as (select * from {{ ref("stg_billing__accounts") }})

select
    entries.wallet_id,
    wallets.account_id,
    accounts.customer_id,
    (transactions.recorded_at at time zone accounts.zone)::date as movement_day,
    transactions.kind,
    entries.currency,
    entries.amount_units
from entries
inner join transactions on transactions.transaction_id = entries.transaction_id
inner join wallets on wallets.wallet_id = entries.wallet_id
inner join accounts on accounts.account_id = wallets.account_id
