"""Who asks, and what the handlers of an ``Auth`` object let them do: no web, no database."""
