"""Loaded into the fork server after all else, and nowhere else: from now on it may hear of Ctrl-C again.

Whoever starts the fork server holds SIGINT back, for while it still loads modules a Ctrl-C would end it with a
traceback. What came meanwhile is dropped. Processes that are forked later, the user's own among them, find everything
as it was.
"""

import signal

if hasattr(signal, "pthread_sigmask") and signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, before)
