"""The client side: everything a participant does with a node by its URL, and verification without any node."""
