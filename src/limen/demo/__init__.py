"""`limen demo`: real files through real workers, one of them killed half-way. Built on the public face alone."""
