"""A pull: a cursor says where the client stands, reading brings what came since, live says when."""
