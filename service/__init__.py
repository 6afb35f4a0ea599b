"""The web service: answers over HTTP which topics a query is about."""
