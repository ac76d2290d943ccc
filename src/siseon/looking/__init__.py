"""What a network sees in one photo, as a folder of pictures and a page that explains them."""
