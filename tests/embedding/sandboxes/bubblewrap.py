"""The bubblewrap of this machine, for tests that need one."""

import pytest

from benchmark.embedding.sandbox.backends import Bubblewrap, find_bubblewrap

BUBBLEWRAP = find_bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not isinstance(BUBBLEWRAP, Bubblewrap), reason=str(BUBBLEWRAP))
