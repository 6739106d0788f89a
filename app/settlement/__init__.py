"""How operations end, however that is learnt: from the answer, from a list, or from a person."""
