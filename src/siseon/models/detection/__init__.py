"""Networks that say what is where in a picture."""
