"""Networks that act: what they see are frames, what they say is what to do."""
