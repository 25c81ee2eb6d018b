"""`python -m spearhead` is `spearhead`."""

import sys

from spearhead.cli import main

sys.exit(main())
