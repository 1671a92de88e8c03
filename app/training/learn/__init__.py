"""Token files -> weights. Knows no folder of a run."""
