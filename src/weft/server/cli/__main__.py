import sys

from weft.server.cli import main

sys.exit(main())
