"""A stand-in for the parts of GitLab's API that groupsnap reads and writes."""
