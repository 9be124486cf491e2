"""Numbers about predictions; arrays in, plain values out."""
