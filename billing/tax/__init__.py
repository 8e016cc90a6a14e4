"""Indian GST as pure functions over dated data: no database, no clock, no network.

`decide` says where a supply takes place and which heads of tax it bears, `compute` turns that into
amounts, `gstin` judges registration numbers, and `numbering`, `fiscal` and `timing` hold the rules
about document numbers and dates. What the law fixes by date lives in `data/`, not in code.
"""
