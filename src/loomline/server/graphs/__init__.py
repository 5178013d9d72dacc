"""The user's graphs: importing them, opening them, and what comes out of them as JSON."""
