"""The intake, the writer and the rebuild over stores and a clock that exist in memory only.

One seed decides everything: who goes on when, what is lost on the way, who dies and when.
"""
