-- documents and characters, stage by stage and language by language
select corpus, stage, lang, docs_in, docs_out, docs_dropped, chars_in, chars_out
from funnel
order by corpus, position, lang;
