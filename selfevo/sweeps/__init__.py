"""Sweeps: many runs from one command, on this machine, a batch queue or a cluster.

`jobs` holds what became of each job, `worker` and `child` run one in a process of its own, `launcher` is what the launchers in
`hydra_plugins.selfevo_sweeps` share, `optuna_search` the Optuna sweeper's work, `closing` a sweep's last words.
"""
