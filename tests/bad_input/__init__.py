"""Random and hostile input, at every place where some comes in: nothing of ours may break.

``make test`` tries a few examples of each, always the same ones. ``make torture PART=input`` tries
many, from a seed.
"""
