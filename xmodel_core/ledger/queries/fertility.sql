-- tokens per character and bytes per token, per source and language; the last row of a language is its total
select tokenizer, coalesce(source, 'all') as source, lang, sum(chars)::bigint as chars, sum(tokens)::bigint as tokens,
    round(sum(tokens) / nullif(sum(chars), 0), 4) as tokens_per_char,
    round(sum(bytes) / nullif(sum(tokens), 0), 4) as bytes_per_token,
    round(sum(unseen_tokens) / nullif(sum(unseen_chars), 0), 4) as unseen_tokens_per_char,
    round(sum(byte_tokens) / nullif(sum(tokens), 0), 4) as byte_share
from tokenizer_fertility
group by grouping sets ((tokenizer, source, lang), (tokenizer, lang))
order by tokenizer, lang, grouping(source), source;
