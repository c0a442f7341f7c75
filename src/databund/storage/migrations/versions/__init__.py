"""One module for each revision, in order. A published one is never changed."""
