"""`python -m sweeper.views.tensorboard RUN`: the views process."""

import sys

from sweeper.views.tensorboard.process import main

sys.exit(main())
