"""Collection pipeline: every platform's crawler, and the raw assets made of them."""
