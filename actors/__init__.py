"""Who says it: one actor per file, beside its pure core."""
