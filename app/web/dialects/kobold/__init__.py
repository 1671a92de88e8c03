"""The dialect's routes, and how it tells a run."""
