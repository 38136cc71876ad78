"""The store of results: folders that are complete or absent, and the views over them."""
