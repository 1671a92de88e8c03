"""GPT-2 in torch: the oracle, and the paged model for a GPU."""
