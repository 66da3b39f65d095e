"""selfevo's launchers and sweeper for Hydra, found by Hydra because they lie in the namespace package `hydra_plugins`.

Hydra imports every module here whenever it composes a config, so these import nothing of joblib, submitit, Ray or Optuna.
"""
