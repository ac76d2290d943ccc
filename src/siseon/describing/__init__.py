"""What a camera sees, said: detections become sentences, and sentences speech."""
