"""`python -m sweeper.views RUN`: the views process."""

import sys

from sweeper.views.process import main

sys.exit(main())
