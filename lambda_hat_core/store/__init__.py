"""Where results are kept: folders that are complete or absent, and what can be asked of them."""
