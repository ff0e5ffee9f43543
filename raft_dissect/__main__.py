"""`python -m raft_dissect`."""

import sys

from raft_dissect.cli import main

sys.exit(main())
