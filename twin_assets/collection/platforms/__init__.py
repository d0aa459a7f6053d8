"""One file, or folder, for each platform; whatever stands here is loaded and registers its crawler."""
