-- tokens per source: supply, planned, consumed, and how often the source was read
with consumed_tokens as (
    select run, source, max(tokens) as tokens, max(epochs) as epochs from consumed group by all
),
planned as (
    select plan, source, min(lang) as lang, sum(weight * planned) / nullif(sum(planned), 0) as weight,
        max(supply_tokens) as supply_tokens, sum(planned_tokens)::bigint as planned_tokens
    from (select *, sum(planned_tokens) over (partition by plan, phase) as planned from mixture)
    group by plan, source
)
select r.run, p.plan, p.source, p.lang, p.weight, p.supply_tokens, p.planned_tokens,
    e.tokens as consumed_tokens, e.epochs
from planned p left join runs r on r.plan = p.plan left join consumed_tokens e on e.run = r.run and e.source = p.source
order by p.plan, r.run, p.planned_tokens desc, p.source;
