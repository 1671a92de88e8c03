"""How many readers share one model: turns, slots, queues. Knows no HTTP."""
