"""Other servers' words for the same: a blueprint each, a thin translation over streaming.start."""
