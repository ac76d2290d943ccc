"""Networks that read and write: recurrent cells, and sentences about pictures."""
