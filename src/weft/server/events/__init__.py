"""Event logs and signals."""
