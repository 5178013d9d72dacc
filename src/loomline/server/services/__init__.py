"""Use cases: one class per resource, one method per thing a client can ask for."""
