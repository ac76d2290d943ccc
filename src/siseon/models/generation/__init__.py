"""Networks that make pictures from random numbers, and a procedure that paints one picture in the style of another."""
