"""Speed, measured beside the libraries that most people would use instead."""
