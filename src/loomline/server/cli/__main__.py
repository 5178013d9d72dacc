import sys

from loomline.server.cli import main

sys.exit(main())
