"""Pages that people read, rendered on the server: no script, nothing from elsewhere."""
