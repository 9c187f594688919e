"""What we see: figures of a study, and the app that shows them. Imports explorer's frames; never torch."""
