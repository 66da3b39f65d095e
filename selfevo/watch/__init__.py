"""A local page that shows runs live, from their files alone: `selfevo watch`. Nothing here writes into a run or takes its lock."""
