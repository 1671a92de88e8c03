"""GPT-2 as an OpenVINO graph with a paged cache."""
