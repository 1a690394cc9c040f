"""The fast ways of the attention modules: the same numbers as their plain equations, for when
nobody looks on.

``paths.choose`` is the only place that chooses between them and the plain form.
"""
