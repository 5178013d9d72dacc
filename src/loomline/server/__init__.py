"""The server."""

import os

# langgraph reads this when it is imported. With it, each graph tells its checkpointer which types
# its schemas name, so that these are restored from checkpoints and no others.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
