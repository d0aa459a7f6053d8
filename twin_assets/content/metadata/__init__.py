"""What a text says about itself: its front matter, and dates as people and programs write them."""
