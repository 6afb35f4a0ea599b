"""The report of a model: figures as JSON, and a page of pictures and tables made from them."""
