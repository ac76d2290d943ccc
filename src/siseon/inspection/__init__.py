"""What a network is made of: the layer table, the arithmetic behind each figure, and a check by measurement."""
