"""Third-party clients, each made to do the same few things."""
