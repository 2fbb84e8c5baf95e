"""Where activities run: threads, one event loop, or child processes."""
