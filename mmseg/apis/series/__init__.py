"""Several runs that belong together: what is planned, done, and found."""
