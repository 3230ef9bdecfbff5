"""The parts of `scripts/benchmark_metrics`: this library's metrics measured beside other people's packages.

`features` makes the data, `environments` the peers' environments, `calls` is what runs in them, `cells` measures one
call in a fresh process under limits, `plan` says what is measured, `report` and `curve` write it down.
"""
