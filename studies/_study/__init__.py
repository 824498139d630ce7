"""What the studies have in common: runs that are done once, rows, tables."""
