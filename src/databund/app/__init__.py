"""What the exchange does: one module for each use case, over the ports only."""
