"""One file or folder per platform; every module here is loaded and registers its crawler."""
