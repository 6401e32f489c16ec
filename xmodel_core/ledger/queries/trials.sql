-- each search's trials, the lowest loss first, those that diverged last; trial 0 is at the report's values
select search, trial, sampled_by, peak_lr, scale_emb, dim_model_base, scale_depth, round(loss, 4) as loss, diverged,
    steps, round(seconds, 1) as seconds
from trials
order by search, diverged, trials.loss, trial;
