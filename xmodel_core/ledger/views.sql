-- Views over the contract's tables. `books`, the last, has one row per imbalance: it is empty when everything adds up.

create view stages as
select * from (values (1, 'read'), (2, 'exact'), (3, 'lines'), (4, 'language'), (5, 'quality'), (6, 'near'),
    (7, 'contamination'), (8, 'mask')) as t (position, stage);

create view artifact_inputs as
select a.label, a.kind, i.key as input, i.value ->> '$' as fingerprint
from artifacts a, json_each(a.inputs) i;

create view documents_kept as
select a.label as corpus, s.key as source, (s.value ->> '$.docs')::bigint as docs,
    s.value ->> '$.documents_digest' as documents_digest
from artifacts a, json_each(a.facts, '$.sources') s
where a.kind = 'corpus';

create view documents_encoded as
select label as shards, name as source, facts ->> '$.tokenizer' as tokenizer, (facts ->> '$.docs')::bigint as docs,
    (facts ->> '$.train_tokens')::bigint as train_tokens,
    (facts ->> '$.validation_tokens')::bigint as validation_tokens, facts ->> '$.documents_digest' as documents_digest
from artifacts
where kind = 'shards';

create view funnel as
select f.corpus, f.stage, f.lang,
    sum(f.docs_in)::bigint as docs_in, sum(f.docs_out)::bigint as docs_out, sum(f.docs_dropped)::bigint as docs_dropped,
    sum(f.chars_in)::bigint as chars_in, sum(f.chars_out)::bigint as chars_out,
    sum(f.chars_dropped)::bigint as chars_dropped, sum(f.chars_removed_in_kept)::bigint as chars_removed_in_kept,
    min(s.position) as position
from document_flow f left join stages s using (stage)
group by f.corpus, f.stage, f.lang
order by f.corpus, position, f.lang;

create view mixture_by_language as
select plan, phase, lang, sum(weight) as weight, sum(supply_tokens)::bigint as supply_tokens,
    sum(planned_tokens)::bigint as planned_tokens,
    sum(planned_tokens) / nullif(sum(supply_tokens), 0) as epochs
from mixture
group by plan, phase, lang
order by plan, phase, lang;

create view leaderboard as
select suite, task, metric, shots, model, parameters, run, step, value, stderr, n, source, filter, checkpoint_sha256
from (
    select e.suite, e.task, e.metric, e.shots, e.model, r.parameters, e.run, e.step, e.value, e.stderr, e.n, e.filter,
        e.checkpoint_sha256, 'this workspace' as source
    from evals e left join runs r using (run)
    union all by name
    select suite, task, metric, shots, model, parameters, value, source from published
)
order by suite, task, metric, shots, value desc, model;

create view books as
with flow as (
    select *, concat_ws(' · ', corpus, stage, source, lang) as place from document_flow
),
drops as (
    select corpus, stage, source, lang, sum(docs) as docs, sum(chars) as chars
    from document_drops group by all
),
-- A language with no documents left has no row in the next stage: 0 out, 0 in.
stages_run as (
    select corpus, source, stage, min(s.position) as position
    from document_flow join stages s using (stage) group by all
),
stage_pairs as (
    select corpus, source, stage, lead(stage) over (partition by corpus, source order by position) as next_stage
    from stages_run
),
langs as (select distinct corpus, source, lang from document_flow),
crossings as (
    select h.corpus, h.source, l.lang, h.stage, h.next_stage,
        coalesce(a.docs_out, 0) as docs_out, coalesce(b.docs_in, 0) as docs_in,
        coalesce(a.chars_out, 0) as chars_out, coalesce(b.chars_in, 0) as chars_in
    from stage_pairs h
    join langs l using (corpus, source)
    left join document_flow a on (a.corpus, a.source, a.lang, a.stage) = (h.corpus, h.source, l.lang, h.stage)
    left join document_flow b on (b.corpus, b.source, b.lang, b.stage) = (h.corpus, h.source, l.lang, h.next_stage)
    where h.next_stage is not null
),
last_out as (
    select f.corpus, f.source, sum(f.docs_out) as docs
    from document_flow f join stage_pairs h using (corpus, source, stage)
    where h.next_stage is null group by all
),
encoded as (
    select e.shards, e.source, e.documents_digest, e.train_tokens,
        coalesce(sum(t.docs), 0) as docs,
        coalesce(sum(t.tokens) filter (not starts_with(t.shard, 'validation')), 0) as tokens
    from documents_encoded e left join token_shards t on t.shards = e.shards
    group by all
),
planned as (
    select r.run, m.source, sum(m.planned_tokens) as tokens
    from runs r join mixture m on m.plan = r.plan
    where r.status = 'finished' group by all
),
-- Cumulative over the run, so the maximum is the last.
consumed_tokens as (
    select run, source, sum(tokens) as tokens
    from (select run, source, lang, max(tokens) as tokens from consumed group by all) group by all
),
consumption as (
    select coalesce(p.run, e.run) as run, coalesce(p.source, e.source) as source,
        coalesce(p.tokens, 0) as planned, coalesce(e.tokens, 0) as consumed
    from planned p
    full join (select e.* from consumed_tokens e join runs r on r.run = e.run and r.status = 'finished') e
        on (e.run, e.source) = (p.run, p.source)
),
supply as (
    select m.plan, m.phase, m.source, m.supply_tokens, e.shards, e.tokens
    from mixture m
    join artifact_inputs i on i.kind = 'plans' and i.label = m.plan
    join artifacts a on a.kind = 'shards' and a.fingerprint = i.fingerprint and a.name = m.source
    join encoded e on e.shards = a.label
),
checks as (
    select 'documents in = out + dropped' as what, place as where_,
        docs_in as expected, coalesce(docs_out, 0) + coalesce(docs_dropped, 0) as found
    from flow
    union all
    select 'characters in = out + dropped + removed in kept', place, chars_in,
        coalesce(chars_out, 0) + coalesce(chars_dropped, 0) + coalesce(chars_removed_in_kept, 0)
    from flow
    union all
    select 'documents dropped = sum over reasons', concat_ws(' · ', corpus, stage, source, lang),
        coalesce(f.docs_dropped, 0), coalesce(d.docs, 0)
    from document_flow f full join drops d using (corpus, stage, source, lang)
    union all
    select 'characters dropped = sum over reasons', concat_ws(' · ', corpus, stage, source, lang),
        coalesce(f.chars_dropped, 0), coalesce(d.chars, 0)
    from document_flow f full join drops d using (corpus, stage, source, lang)
    union all
    select 'documents out of ' || stage || ' = in of ' || next_stage, concat_ws(' · ', corpus, source, lang),
        docs_out, docs_in
    from crossings
    union all
    select 'characters out of ' || stage || ' = in of ' || next_stage, concat_ws(' · ', corpus, source, lang),
        chars_out, chars_in
    from crossings
    union all
    select 'documents out of the last stage = documents kept', concat_ws(' · ', corpus, source),
        coalesce(o.docs, 0), coalesce(k.docs, 0)
    from last_out o full join documents_kept k using (corpus, source)
    union all
    select 'documents kept = documents encoded', concat_ws(' · ', k.corpus, k.source, e.shards), k.docs, e.docs
    from documents_kept k join encoded e on e.documents_digest = k.documents_digest and e.source = k.source
    union all
    select 'train tokens counted = train tokens in shards', shards, train_tokens, tokens from encoded
    union all
    select 'train tokens of shards = supply of the plan', concat_ws(' · ', plan, phase, source, shards),
        tokens, supply_tokens
    from supply
    union all
    select 'tokens planned = tokens consumed', concat_ws(' · ', run, source), planned, consumed from consumption
)
select what, where_, expected::bigint as expected, found::bigint as found, (found - expected)::bigint as difference
from checks
where expected is distinct from found
order by what, where_;
