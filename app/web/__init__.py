"""HTTP in, HTTP out. Knows no tensor, imports no torch."""
