"""The tills' side: facts come in, reference data goes out."""
