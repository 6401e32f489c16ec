-- tokenizers beside each other per report, language and category, by whether the report's own learned from the text
select report, lang, coalesce(category, 'all') as category, text, tokenizer, max(pieces) as pieces,
    sum(chars)::bigint as chars, round(sum(tokens) / nullif(sum(chars), 0), 4) as tokens_per_char,
    round(sum(bytes) / nullif(sum(tokens), 0), 3) as bytes_per_token,
    round(sum(byte_tokens) / nullif(sum(tokens), 0), 5) as byte_share, sum(unknown_tokens)::bigint as unknown_tokens,
    sum(docs)::bigint as docs, sum(docs_changed)::bigint as docs_changed
from tokenizer_comparison
group by grouping sets ((report, lang, category, text, tokenizer), (report, lang, text, tokenizer))
order by report, lang, grouping(category) desc, category, text, tokenizer;
