"""Finding out who asks: by the handler of an ``Auth`` object, by API keys, by tokens."""
