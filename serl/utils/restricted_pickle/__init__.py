"""Reads pickles of plain data; nothing that stands in them is ever called.

A pickle is a program: it may name any function and have it called. Here its
operations make built-in containers, and what numpy rebuilds arrays from is
known by its name. Anything else is `Foreign`: it is noted and not made.

A few bytes of a pickle can ask for much: memory, by lengths that they claim and
by copies, and time, by containers that hold each other over and over. All that
is bounded by the bytes of the file.

`loading` has the functions that load, `source` reads bytes, `machine` does the
operations and `known` has a function for each name that a pickle may call.
`values` has placeholders for arrays and dtypes, which `finish` replaces.
"""

from serl.utils.restricted_pickle.loading import load as load
from serl.utils.restricted_pickle.loading import load_each as load_each
from serl.utils.restricted_pickle.values import Foreign as Foreign
from serl.utils.restricted_pickle.values import foreign_names as foreign_names
