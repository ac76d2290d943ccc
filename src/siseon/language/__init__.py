"""Words: a vocabulary for networks, and Korean and English as they are said."""
