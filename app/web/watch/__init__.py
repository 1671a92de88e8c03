"""What operators see: the log, metrics, /status and traces."""
