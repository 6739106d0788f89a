"""The forms in which the sandbox answers: today's, the documented one, and all that were seen."""
