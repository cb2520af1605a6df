"""What one process tells Prometheus and whoever asks whether it works: one http port."""
