"""The native API: /generate and what goes with it."""
