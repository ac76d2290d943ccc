"""The models, by task: each file is one paper, and its imports are the history of the subject."""
