-- what is kept of each source and language, its share of the characters, beside the mixture's weight
with stage_rows as (
    select f.*, s.position, max(s.position) over (partition by f.corpus, f.source) as last_position
    from document_flow f join stages s using (stage)
),
kept as (
    select corpus, source, lang, sum(docs_out)::bigint as docs, sum(chars_out)::bigint as chars,
        sum(bytes_out)::bigint as bytes
    from stage_rows where position = last_position group by all
),
of_corpus as (
    select i.label as shards, k.corpus, k.source
    from documents_kept k
    join documents_encoded e on e.documents_digest = k.documents_digest and e.source = k.source
    join artifacts i on i.kind = 'shards' and i.label = e.shards
),
weights as (
    select o.corpus, m.source, arg_max(m.weight, p.created_at) as weight
    from of_corpus o
    join artifacts a on a.label = o.shards and a.kind = 'shards'
    join artifact_inputs i on i.kind = 'plans' and i.fingerprint = a.fingerprint
    join artifacts p on p.kind = 'plans' and p.label = i.label
    join mixture m on m.plan = i.label and m.source = o.source
    group by o.corpus, m.source
)
select k.corpus, k.source, k.lang, s.category, k.docs, k.chars, k.bytes,
    round(k.chars / nullif(sum(k.chars) over (partition by k.corpus), 0), 4) as share_of_chars,
    w.weight as mixture_weight
from kept k left join sources s using (source) left join weights w using (corpus, source)
where k.docs > 0
order by k.corpus, k.chars desc, k.source, k.lang;
