"""What a study teaches beyond its front: pure numbers on results frames, for pages and reports."""
