"""Convolutions for prediction on a processor, faster than its library's; the same numbers up to rounding."""
