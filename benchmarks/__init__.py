"""The package beside its peers: each goal of speed is a ratio, measured side by side in one run. ``make bench``."""
