"""Which models the box has: reading formats, cards, the registry, import and verification, and the default embedder."""
