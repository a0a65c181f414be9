"""`python -m trackside`, which is how the actions call it."""

import sys

from trackside.cli import main

sys.exit(main())
