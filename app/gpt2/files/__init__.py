"""Files <-> weights: every format a GPT-2 comes in. Computes nothing."""
