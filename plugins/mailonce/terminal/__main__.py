"""``python -m mailonce.terminal``."""

import sys

from mailonce.terminal import main

sys.exit(main())
