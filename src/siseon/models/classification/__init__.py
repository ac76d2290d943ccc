"""Networks that say what a picture shows; their bodies are the backbones of the detectors."""
