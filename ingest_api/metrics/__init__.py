"""What our processes tell Prometheus; the table of all metrics is in docs/operations.md."""
