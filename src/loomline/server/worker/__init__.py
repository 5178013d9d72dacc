"""Claims runs and executes them."""
