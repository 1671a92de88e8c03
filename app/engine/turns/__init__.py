"""One model and the rows that share it, a turn at a time. No thread, no lock, no socket."""
