"""Networks that say of every pixel what it belongs to."""
