"""Makes an API key. The key is shown once, and kept by nobody but whom it is given to."""

from __future__ import annotations

import json
import sys

from loomline.server.authn.keys import new_key
from loomline.server.authz.users import is_identity


def key(identity: str) -> int:
    """Print a new key and its entry for the file of keys; return the exit code."""
    if not is_identity(identity):
        print(
            "loomline: the name of the key's user must not be empty, '*', or have control"
            " characters",
            file=sys.stderr,
        )
        return 2
    made, entry = new_key(identity)
    print(f"The key of {identity}, which is shown only now:\n\n  {made}\n")
    print(f"Its entry for the list of keys:\n\n  {json.dumps(entry)}")
    return 0
