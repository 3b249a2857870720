"""Writers of the generated pages of docs/, for `docs/make_pages.py`."""
