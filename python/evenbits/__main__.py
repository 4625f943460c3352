"""``python -m evenbits`` is the command ``evenbits``."""

import sys

from evenbits.cli import main

if __name__ == "__main__":
    sys.exit(main())
