"""The seam between an actor and what runs it: inboxes, threads of control, clocks and timers."""
