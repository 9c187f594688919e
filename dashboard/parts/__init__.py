"""What pages are put together from: controls, sections, tables."""
