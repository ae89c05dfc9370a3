"""Real conversions, with .venv-convert and the embedded model's weights: `make test-convert`."""
