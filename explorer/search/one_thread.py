"""Linear algebra on one thread: of small matrices threads wait for each other, and long beside other work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import threadpoolctl


def one_thread() -> AbstractContextManager[object]:
    """A context in which it runs so."""
    return _pools().limit(limits=1)


@cache
def _pools() -> threadpoolctl.ThreadpoolController:
    """The thread pools of the linear algebra, looked for once."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")
