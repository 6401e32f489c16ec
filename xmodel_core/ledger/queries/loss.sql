-- the training loss at about twenty steps of each run
select run, step, phase, tokens, round(loss, 4) as loss, lr, round(grad_norm, 3) as grad_norm,
    round(tokens_per_second) as tokens_per_second
from train_metrics
qualify row_number() over (partition by run order by step desc) = 1
    or row_number() over (partition by run order by step) %
        greatest(1, count(*) over (partition by run) // 20) = 0
order by run, step;
