"""Networks trained on one label of a data set of molecules, and what can be read from them."""
