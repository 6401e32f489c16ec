-- what was dropped at which stage, for which reason, in which language
select d.corpus, d.stage, d.reason, d.lang, sum(d.docs)::bigint as docs, sum(d.chars)::bigint as chars
from document_drops d left join stages s using (stage)
group by d.corpus, d.stage, d.reason, d.lang
having sum(d.docs) > 0
order by d.corpus, min(s.position), docs desc, d.reason, d.lang;
