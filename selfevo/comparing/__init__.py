"""Comparing runs from what their directories hold: found and read by `find`, measured by `settings`, `measured`, `speed` and `paired`,
put into tables by `tables`, written as text, Markdown, CSV or JSON by `show`. Imports no torch.
"""
