-- scores with standard errors, the published ones below this workspace's
with own as (select distinct suite, task, metric from evals)
select l.run, l.model, l.step, l.suite, l.task, l.metric, l.shots, round(l.value, 4) as value,
    round(l.stderr, 4) as stderr, l.n, l.source, left(l.checkpoint_sha256, 8) as checkpoint
from leaderboard l join own using (suite, task, metric)
order by l.suite, l.task, l.metric, l.source <> 'this workspace', l.run is null, l.run, l.step, value desc, l.model;
