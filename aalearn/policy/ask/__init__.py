"""How each class of mediation is asked: one module a family of classes."""
