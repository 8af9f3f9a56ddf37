"""Archives of label maps for the public test servers."""
