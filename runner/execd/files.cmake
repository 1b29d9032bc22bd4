# Files, paths, metrics.
