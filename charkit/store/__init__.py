"""The store: entries written whole or not at all, locks, manifests."""
