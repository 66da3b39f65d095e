"""Reproducing a method's effect: its tiny run against its named baseline, over several seeds, at equal cost.

`plan` says which runs that takes, `runs` has them done, `effect` reads and judges them, `record` keeps the result, `ledger` writes the
page of all methods. Imports no torch.
"""
